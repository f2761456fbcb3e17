//! What admission adds to the creation of a pod on a real API server: without a webhook, with one that does nothing, with
//! mirrorgate, and with the built-in MutatingAdmissionPolicy; and what a large cluster takes of mirrorgate. `benches/cluster/run`
//! starts the lab and runs this inside its network.
//!
//! The ways are measured in turn, round after round. The tables that go into `benches/README.md` are printed on stdout.
#![expect(clippy::unwrap_used, reason = "a measurement stops at its first fault")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table, and how far it is")]

mod ceiling;
mod creations;
#[path = "../../tests/cluster/lab.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod lab;
#[path = "../../tests/cluster/mirrorgate.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod mirrorgate;
#[path = "../../tests/cluster/registry.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod registry;
#[path = "../scene/mod.rs"]
mod scene;
mod table;
mod together;
mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use creations::Connections;
use lab::Lab;
use registry::{Authority, Registry};
use scene::machine;
use table::Rounds;
use together::Size;

/// Creations at once.
const CONCURRENCIES: [usize; 2] = [1, 8];

/// How long it is measured, and how large the cluster is in the end.
struct Plan {
    rounds: usize,
    /// Before each measurement, without being counted, and the measurement.
    times: [Duration; 2],
    size: Size,
}

const WHOLE: Plan = Plan {
    rounds: 10,
    times: [Duration::from_millis(500), Duration::from_secs(4)],
    size: Size { secrets: 10_000, hosts: 10_000, verdicts: 1_000, starts: 5 },
};
const QUICK: Plan = Plan {
    rounds: 1,
    times: [Duration::from_millis(500), Duration::from_secs(1)],
    size: Size { secrets: 100, hosts: 100, verdicts: 20, starts: 1 },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let asked_for = |option: &str| std::env::args().any(|argument| argument == option);
    let plan = if asked_for("--quick") { QUICK } else { WHOLE };
    let lab = Lab::alone().await;
    let authority = Authority::new("bench CA");
    let registry = ways::registry(&authority);
    let circumstances = format!(
        "Measured on {}; {}; kube-apiserver {}. Load average before: {}.",
        machine::told(),
        machine::said(env!("CARGO_BIN_EXE_mirrorgate"), &["--version"]),
        lab.client.apiserver_version().await?.git_version,
        machine::load_average(),
    );
    if !asked_for("--together") {
        println!("{}", creations(&lab, &authority, &registry, &plan).await?);
    }
    println!("{}\n{circumstances}", together::measure(&lab, &authority, &plan.size).await?);
    Ok(())
}

/// Measures all ways in turn, and returns the tables.
async fn creations(lab: &Lab, authority: &Authority, registry: &Registry, plan: &Plan) -> anyhow::Result<String> {
    let ways = ways::prepare(lab, authority).await?;
    let asked = mirrorgate::requests().await;
    let mut created = vec![0; ways.len()];
    let mut connections = Connections::open(CONCURRENCIES[1]).await?;
    eprintln!("warm-up");
    for (way, created) in ways.iter().zip(&mut created) {
        connections.measure(way, CONCURRENCIES[1], plan.times, created).await?;
    }
    let mut measured: [Rounds; CONCURRENCIES.len()] = Default::default();
    for round in 0..plan.rounds {
        for (concurrency, rounds) in CONCURRENCIES.into_iter().zip(&mut measured) {
            let mut samples = BTreeMap::new();
            for way in order(round, ways.len()) {
                let sample = connections.measure(&ways[way], concurrency, plan.times, &mut created[way]).await?;
                eprintln!(
                    "round {} of {}, {concurrency} at once, {}: {sample}",
                    round + 1,
                    plan.rounds,
                    ways[way].name
                );
                samples.insert(way, sample);
            }
            rounds.push(samples.into_values().collect());
        }
    }
    let asked = mirrorgate::requests().await - asked;
    let (of_ours, all) = (created[ways::MIRRORGATE], created.iter().sum::<usize>());
    ensure!(asked == of_ours as f64, "mirrorgate was asked {asked} times about {of_ours} creations");
    let names: Vec<&str> = ways.iter().map(|way| way.name).collect();
    Ok(format!(
        "{}\n{} rounds of {:?} each, turn about; {all} creations, none failed, all with the images they should have; \
         mirrorgate was asked once about each of its {of_ours}, and dialled its registry {} times.\n",
        table::tables(&names, &measured),
        plan.rounds,
        plan.times[1],
        registry.dialled(),
    ))
}

/// Each round begins with another way, and every second one goes backwards: what changes in the machine meets all of them.
fn order(round: usize, ways: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ways).map(|way| (way + round) % ways).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
