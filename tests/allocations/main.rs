//! How often a review asks for memory: counted, and exact. Run by `cargo test`.

#[path = "../../benches/scene/mod.rs"]
mod scene;

use scene::{Scene, bodies};

fn allocations(scene: &Scene, body: &[u8]) -> u64 {
    scene.review(body);
    allocation_counter::measure(|| drop(scene.review(body))).count_total
}

#[test]
fn a_review_allocates_ten_times_and_four_times_for_each_image() {
    let scene = Scene::new(&scene::policy(10), &[&bodies::small(), &bodies::large()]);
    let small = allocations(&scene, &bodies::small());
    let large = allocations(&scene, &bodies::large());
    assert!(small <= 10 + 2 * 4, "{small}");
    assert!(large <= 10 + 72 * 4, "{large}");
}
