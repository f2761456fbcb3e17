//! What admission adds to the creation of a pod on a real API server: without a webhook, with one that does nothing, with
//! mirrorgate, and with the built-in MutatingAdmissionPolicy. `benches/cluster/run` starts the lab and runs this inside its network.
//!
//! The ways are measured in turn, round after round. The table that goes into `benches/README.md` is printed on stdout.
#![expect(clippy::unwrap_used, reason = "a measurement stops at its first fault")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table, and how far it is")]

mod ceiling;
mod circumstances;
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
mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use creations::Connections;
use registry::Authority;
use table::Rounds;

/// Creations at once.
const CONCURRENCIES: [usize; 2] = [1, 8];

/// How long it is measured.
struct Plan {
    rounds: usize,
    /// Before each measurement, without being counted, and the measurement.
    times: [Duration; 2],
}

const WHOLE: Plan = Plan { rounds: 10, times: [Duration::from_millis(500), Duration::from_secs(4)] };
const QUICK: Plan = Plan { rounds: 1, times: [Duration::from_millis(500), Duration::from_secs(1)] };

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let plan = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { WHOLE };
    let lab = lab::Lab::alone().await;
    let authority = Authority::new("bench CA");
    let registry = ways::registry(&authority);
    let ways = ways::prepare(&lab, &authority).await?;
    let circumstances = circumstances::told(&lab).await?;

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
    println!(
        "{}\n{circumstances} {} rounds of {:?} each, turn about; {all} creations, none failed, all with the images they should have; \
         mirrorgate was asked once about each of its {of_ours}, and dialled its registry {} times.",
        table::tables(&names, &measured),
        plan.rounds,
        plan.times[1],
        registry.dialled(),
    );
    Ok(())
}

/// Each round begins with another way, and every second one goes backwards: what changes in the machine meets all of them.
fn order(round: usize, ways: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ways).map(|way| (way + round) % ways).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
