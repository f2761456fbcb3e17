//! What mirrorgate costs under load, beside the ceiling. `benches/load/run --help` says what it does; the figures are in
//! `benches/README.md`.
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

#[path = "../scene/mod.rs"]
mod scene;

mod client;
mod comparison;
mod figures;
mod generator;
mod mirror;
mod process;
mod report;
mod scenery;
mod settings;
mod soak;
mod start;
mod swap;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use comparison::{Body, CEILING, Comparison, MIRRORGATE};
use generator::{Generator, Load, Outcome, Protocol, Target};
use mirror::Mirror;
use process::{Cores, allowed_cores};
use scene::marks::Mark;
use scene::memory::Memory;
use scenery::Scenery;
use settings::Settings;
use soak::Soak;
use start::{Running, Stage, Starts, check};
use swap::Swaps;

/// Of a policy as sites have it, and of the largest.
const FEW_HOSTS: usize = 10;
const MANY_HOSTS: usize = 10_000;
/// MiB and ms.
const MOST_IDLE: f64 = 18.0;
const MOST_UNDER_LOAD: f64 = 25.0;
const LATEST_ANSWER: f64 = 50.0;
const SOAK_CONNECTIONS: u32 = 64;
/// A second, for the swaps, where `--connections` leaves out those of which the rate is known.
const LEAST_CALLS: f64 = 1000.0;

fn main() -> ExitCode {
    match measure(&Settings::parse().effective()) {
        Ok(tables) => {
            println!("{tables}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings) -> anyhow::Result<String> {
    let load_before = scene::machine::load_average();
    let cores = Cores::take(settings.server_core, settings.generator_core)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().context("a runtime")?;
    let scenery = Scenery::new()?;
    end_tidily(&runtime, scenery.path(""));
    let mirror = runtime.block_on(Mirror::start(&scenery.certificate()?))?;
    let (few, many) = (scenery.policy(FEW_HOSTS, mirror.address), scenery.policy(MANY_HOSTS, mirror.address));
    scenery.write("policy.yaml", &few)?;
    let bodies = [
        Body::of(&scenery, "small.json", 2, scene::bodies::small(), &mirror)?,
        Body::of(&scenery, "large.json", 72, scene::bodies::large(), &mirror)?,
    ];
    let [small, _] = &bodies;
    let review = Bytes::from(fs::read(&small.path).context("the body")?);

    let stage = Stage { settings, cores, scenery: &scenery, runtime: &runtime };
    let mut starts = Starts::default();
    for _ in 1..settings.rounds {
        starts.ceiling.push(stage.ceiling(&review)?.first_answer);
        starts.mirrorgate.push(stage.mirrorgate(&review)?.first_answer);
    }
    let (ceiling, mut mirrorgate) = (stage.ceiling(&review)?, stage.mirrorgate(&review)?);
    starts.ceiling.push(ceiling.first_answer);
    starts.mirrorgate.push(mirrorgate.first_answer);
    let idle = [idle(&ceiling)?, idle(&mirrorgate)?];
    let generator = Generator { oha: settings.oha.clone(), core: cores.generator };
    let mut targets = vec![ceiling.target.clone(), mirrorgate.target.clone()];
    targets.extend(peers(settings, cores)?);

    let mut marks = Vec::new();
    let mut tables = Vec::new();
    let mut half = None;
    if !settings.only_soak {
        let made = compare(settings, &generator, &targets, &bodies)?;
        let halves = at_half(settings, &generator, &targets, small, &made)?;
        let rate = halves.first().and_then(|half| half.rate);
        marks.extend(report::marks(&made, &halves));
        tables.push(report::comparison_table(&made, &targets));
        tables.push(report::per_container(&made));
        tables.push(report::comparison_table(&halves, &targets));
        tables.push(process_table(&starts, idle, &targets)?);
        half = rate;
    }
    let [_, idle] = idle;
    marks.push(Mark::at_most("memory, idle", report::alone(idle), MOST_IDLE, " MiB", 1));
    if let Some(first) = starts.of(start::MIRRORGATE) {
        marks.push(Mark::at_most("start to first answer, with a policy file", first, LATEST_ANSWER, " ms", 1));
    }
    if !settings.only_soak {
        let most = Memory::of(mirrorgate.target.pid)?.most;
        marks.push(Mark::at_most("memory, the most in all rounds", report::alone(most), MOST_UNDER_LOAD, " MiB", 1));
    }
    if let Some(minutes) = settings.soak {
        let time = settings.time;
        let load =
            Load { body: &small.path, protocol: Protocol::Http1, connections: SOAK_CONNECTIONS, rate: None, time };
        let soak = Soak::make(&generator, &mirrorgate.target, load, minutes)?;
        marks.extend(soak.marks());
        tables.push(soak.markdown());
    }
    // At last: a large policy takes memory of its own.
    if !settings.only_soak {
        let Running { server, client, .. } = &mut mirrorgate;
        let load = (&review, half.unwrap_or(LEAST_CALLS), settings.rounds);
        let swaps = Swaps::make(&runtime, &scenery, server, client, (&few, &many), load)?;
        marks.extend(swaps.marks());
        tables.push(swaps.markdown());
    }
    // What it answers now is still what it shall.
    let last = runtime.block_on(async { mirrorgate.client.connect().await?.review(review).await });
    check(&last.context("the last review")?, true).context("the last review")?;

    tables.insert(0, report::conditions(settings, cores, &load_before));
    tables.insert(1, Mark::table(&marks));
    tables.retain(|table| !table.is_empty());
    Ok(tables.join("\n"))
}

/// On a signal the folder goes, too; the servers and oha end with this process.
fn end_tidily(runtime: &Runtime, folder: PathBuf) {
    runtime.spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _gone = fs::remove_dir_all(folder);
        std::process::exit(130);
    });
}

/// MiB.
fn idle(running: &Running) -> anyhow::Result<f64> {
    Ok(Memory::of(running.server.pid())?.resident)
}

fn peers(settings: &Settings, cores: Cores) -> anyhow::Result<Vec<Target>> {
    let mut peers = Vec::new();
    for peer in &settings.peer {
        let allowed = allowed_cores(&peer.pid.to_string()).with_context(|| format!("the peer {}", peer.name))?;
        if allowed != [cores.server] {
            let core = cores.server;
            anstream::eprintln!(
                "warning: {} may use the cores {allowed:?}, the others only {core}: taskset -a -c -p {core} {}",
                peer.name,
                peer.pid
            );
        }
        let authority = peer.authority.clone();
        peers.push(Target { name: peer.name.clone(), url: peer.url.clone(), pid: peer.pid, authority });
    }
    Ok(peers)
}

/// Every body, protocol and number of connections.
fn compare(
    settings: &Settings,
    generator: &Generator,
    targets: &[Target],
    bodies: &[Body],
) -> anyhow::Result<Vec<Comparison>> {
    let mut made = Vec::new();
    for body in bodies {
        for protocol in Protocol::BOTH {
            for &connections in &settings.connections {
                let (load, rounds) = ((protocol, connections, None), (settings.rounds, settings.time));
                made.push(Comparison::make(generator, targets, body, load, rounds)?);
            }
        }
    }
    Ok(made)
}

/// All at one rate: half of what the slower of ceiling and mirrorgate took when it was given all it could take.
fn at_half(
    settings: &Settings,
    generator: &Generator,
    targets: &[Target],
    body: &Body,
    saturated: &[Comparison],
) -> anyhow::Result<Vec<Comparison>> {
    let mut made = Vec::new();
    for protocol in Protocol::BOTH {
        let is_it = |comparison: &&Comparison| {
            comparison.protocol == protocol
                && comparison.connections == report::MARKED_CONNECTIONS
                && comparison.body.containers == body.containers
        };
        let Some(saturated) = saturated.iter().find(is_it) else { continue };
        let rate = |server| saturated.spread(server, |outcome: &Outcome| outcome.rate).median;
        let half = rate(CEILING).min(rate(MIRRORGATE)) / 2.0;
        let load = (protocol, report::MARKED_CONNECTIONS, Some(half));
        made.push(Comparison::make(generator, targets, body, load, (settings.rounds, settings.time))?);
    }
    Ok(made)
}

fn process_table(starts: &Starts, idle: [f64; 2], targets: &[Target]) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let memory = Memory::of(target.pid)?;
        rows.push((target.name.as_str(), idle.get(number).copied(), memory.resident, memory.most));
    }
    Ok(report::process_table(starts, &rows))
}

impl Body {
    fn of(scenery: &Scenery, file: &str, containers: u32, body: Vec<u8>, mirror: &Mirror) -> anyhow::Result<Body> {
        let path = scenery.body(file, body, mirror.address)?;
        let bytes = fs::metadata(&path).context("the body")?.len();
        let name = format!("{:.1} kB, {containers} containers", bytes as f64 / 1e3);
        Ok(Body { name, containers, path })
    }
}
