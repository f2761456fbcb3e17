//! What a review costs against the size of everything that it could depend on, as pictures: `cargo bench --bench curves`
//! measures, draws `benches/curves/*.svg` and writes the marks into `benches/README.md`. With names of curves behind `--`,
//! those alone, and no marks: `cargo bench --bench curves -- hosts body`.
#![expect(clippy::unwrap_used, reason = "a measurement stops at its first fault")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]

#[path = "../scene/mod.rs"]
mod scene;

mod chart;
mod connections;
mod marks;
mod measure;
mod namespaces;
mod reviews;

use std::fs;
use std::path::Path;

use chart::Chart;
use marks::Mark;
use scene::machine;

/// A picture, and what was to be shown by it.
struct Curve {
    chart: Chart,
    marks: Vec<Mark>,
}

type Measure = fn() -> Curve;

/// By the names of their files.
const CURVES: [(&str, Measure); 6] = [
    ("hosts", reviews::hosts),
    ("containers", reviews::containers),
    ("body", reviews::body),
    ("namespaces", namespaces::namespaces),
    ("registries", reviews::registries),
    ("connections", connections::connections),
];

fn main() {
    let mut chosen: Vec<String> = std::env::args().skip(1).collect();
    let count = chosen.len();
    chosen.retain(|argument| argument != "--bench");
    if chosen.len() == count {
        // `cargo test --benches`: an unoptimised build shows nothing.
        return println!("to measure: cargo bench --bench curves");
    }
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let conditions = format!("Measured on {}. Load average before: {}", machine::told(), machine::load_average());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let mut all = Vec::new();
    for (name, measure) in CURVES.iter().filter(|(name, _)| is_chosen(name)) {
        let Curve { chart, marks } = measure();
        println!("{name}: {}", chart.values());
        fs::write(folder.join("curves").join(name).with_extension("svg"), chart.svg()).unwrap();
        all.extend(marks);
    }
    let table = marks::table(&conditions, &all);
    println!("\n{table}");
    if chosen.is_empty() {
        let page = folder.join("README.md");
        let text = fs::read_to_string(&page).unwrap();
        fs::write(page, marks::put_into(&text, &table)).unwrap();
    }
}
