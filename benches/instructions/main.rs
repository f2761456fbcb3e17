//! How many instructions a review takes, counted by callgrind: the same however busy the machine is, so that what gets slower is seen.
//!
//! `cargo bench --profile instructions --bench instructions` compares them with `expected.txt`, and fails where one differs by more
//! than the tolerance, or where another compiler made them. `UPDATE=1` writes them down anew.
#![expect(clippy::unwrap_used, reason = "a measurement stops at its first fault")]
#![expect(clippy::print_stdout, reason = "the counts are its answer")]

#[path = "../scene/mod.rs"]
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use mirrorgate::image::Reference;
use mirrorgate::json::Reader;
use mirrorgate::policy::Policy;
use mirrorgate::telemetry::JsonLines;
use scene::{Scene, bodies};
use tracing_subscriber::layer::SubscriberExt;

/// Parts of the expected count by which a count may differ: hashes are seeded anew in each process.
const TOLERANCE: f64 = 0.03;

/// What is counted is the difference between so many times and twice as many: what is done once does not count.
const TIMES: u64 = 200;

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/expected.txt");

/// What is counted, by name.
fn case(name: &str) -> Option<Box<dyn FnMut()>> {
    let review = |hosts, body: Vec<u8>| -> Box<dyn FnMut()> {
        let scene = Scene::new(&scene::policy(hosts), &[&body]);
        Box::new(move || drop(black_box(scene.review(black_box(&body)))))
    };
    Some(match name {
        "review of 2 containers" => review(10, bodies::small()),
        "review of 2 containers, with its line in the log" => {
            let mut review = review(10, bodies::small());
            let lines = JsonLines::new(|line: &[u8], _| {
                black_box(line);
            });
            let log = tracing::Dispatch::new(tracing_subscriber::registry().with(lines));
            Box::new(move || tracing::dispatcher::with_default(&log, &mut review))
        }
        "review of 2 containers, 10,000 hosts" => review(10_000, bodies::small()),
        "review of 72 containers" => review(10, bodies::large()),
        "passing by the body of 2 containers" => {
            let body = String::from_utf8(bodies::small()).unwrap();
            Box::new(move || Reader::new(black_box(&body)).skip().unwrap())
        }
        "reference" => Box::new(|| {
            black_box(Reference::parse(black_box("registry.example.com:5000/team/app:v1.2.3")).unwrap());
        }),
        "policy of 100 hosts" => {
            let policy = scene::policy(100);
            Box::new(move || drop(black_box(Policy::read(black_box(&policy)).unwrap())))
        }
        _ => return None,
    })
}

const CASES: [&str; 7] = [
    "review of 2 containers",
    "review of 2 containers, with its line in the log",
    "review of 2 containers, 10,000 hosts",
    "review of 72 containers",
    "passing by the body of 2 containers",
    "reference",
    "policy of 100 hosts",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [name, times] = &arguments[..] {
        let mut case = case(name).unwrap();
        (0..times.parse::<u64>().unwrap()).for_each(|_| case());
        return ExitCode::SUCCESS;
    }
    let expected = Expected::read();
    let mut counted = format!("{}\n", compiler());
    let mut is_as_expected = expected.compiler == compiler();
    if !is_as_expected {
        println!("expected of {}, and this is {}", expected.compiler, compiler());
    }
    println!("{:>12} {:>12}", "instructions", "expected");
    for name in CASES {
        let count = (count(name, 2 * TIMES) - count(name, TIMES)) / TIMES;
        // Writing to a `String` does not fail.
        let _ = writeln!(counted, "{count:>12}  {name}");
        let before = expected.counts.get(name).copied().unwrap_or_default();
        let change = count as f64 / before as f64 - 1.0;
        let is_fine = change.abs() <= TOLERANCE;
        is_as_expected &= is_fine;
        let verdict = if is_fine { "" } else { "  <- not as expected" };
        println!("{count:>12} {before:>12} {:>+6.1}%  {name}{verdict}", change * 100.0);
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(EXPECTED, counted).unwrap();
    } else if !is_as_expected {
        println!(
            "fewer or more: look why, then write them down with UPDATE=1 cargo bench --profile instructions --bench instructions"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What was written down.
struct Expected {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Expected {
    fn read() -> Self {
        let text = fs::read_to_string(Path::new(EXPECTED)).unwrap_or_default();
        let (compiler, counts) = text.split_once('\n').unwrap_or_default();
        let count = |line: &str| {
            let (count, name) = line.trim().split_once("  ")?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        Self { compiler: compiler.to_owned(), counts: counts.lines().filter_map(count).collect() }
    }
}

/// `rustc 1.95.0`, for `x86_64`: other ones make other code.
fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let version = said.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{version}, {}", std::env::consts::ARCH)
}

/// All instructions of a process that does a case so many times.
fn count(name: &str, times: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([name, &times.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind cannot be started ({error}): install the package valgrind"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said.lines().find_map(|line| line.split_once("Collected : ")).unwrap().1.trim().parse().unwrap()
}
