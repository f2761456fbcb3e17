//! How often a review asks for memory: counted, and exact. Run by `cargo test`.

#[path = "../../benches/scene/mod.rs"]
mod scene;

use scene::{Scene, bodies};

/// The least of some reviews: now and then one of them tidies up the verdicts that are kept.
fn allocations(scene: &Scene, body: &[u8]) -> u64 {
    let counts = (0..20).map(|_| allocation_counter::measure(|| drop(scene.review(body))).count_total);
    counts.min().unwrap_or_default()
}

#[test]
fn a_review_allocates_ten_times_and_four_times_for_each_image() {
    let scene = Scene::new(&scene::policy(10), &[&bodies::small(), &bodies::large()]);
    let small = allocations(&scene, &bodies::small());
    let large = allocations(&scene, &bodies::large());
    assert!((1..=10 + 2 * 4).contains(&small), "{small}");
    assert!((1..=10 + 72 * 4).contains(&large), "{large}");
}
