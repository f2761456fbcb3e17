//! The tables, in Markdown.

use crate::comparison::{CEILING, Comparison, MIRRORGATE};
use crate::generator::{Outcome, Protocol, Target};
use crate::process::Cores;
use crate::scene::machine;
use crate::scene::marks::Mark;
use crate::scene::spread::Spread;
use crate::settings::Settings;
use crate::start::Starts;

/// At most so many times the ceiling's CPU per review, with two containers.
const MOST_TIMES: f64 = 1.6;
/// At most so much CPU beyond the ceiling's, with 72 containers (µs).
const MOST_OVER: f64 = 150.0;
/// At most so many times the ceiling's p99, at half of the saturated rate.
const MOST_TIMES_P99: f64 = 1.2;

/// On how many connections the marks are.
pub(crate) const MARKED_CONNECTIONS: u32 = 8;

/// What is asked of the comparisons.
pub(crate) fn marks(comparisons: &[Comparison], halves: &[Comparison]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.connections == MARKED_CONNECTIONS) {
        let Comparison { body, protocol, connections, .. } = comparison;
        let what = format!("CPU per review, {}, {connections} connections, {}", body.name, protocol.as_str());
        marks.push(if body.containers == 2 {
            let ratio = comparison.against_ceiling(MIRRORGATE, cpu, |own, ceiling| own / ceiling);
            Mark::at_most(format!("{what}: against the ceiling"), ratio, MOST_TIMES, " times", 2)
        } else {
            let over = comparison.against_ceiling(MIRRORGATE, cpu, |own, ceiling| own - ceiling);
            Mark::at_most(format!("{what}: over the ceiling"), over, MOST_OVER, " µs", 1)
        });
    }
    for half in halves {
        let what = format!(
            "p99 at {:.0} calls a second, half of the saturated rate, {}",
            half.rate.unwrap_or(0.0),
            half.protocol.as_str()
        );
        let ratio = half.against_ceiling(MIRRORGATE, |outcome| outcome.p99, |own, ceiling| own / ceiling);
        marks.push(Mark::at_most(format!("{what}: against the ceiling"), ratio, MOST_TIMES_P99, " times", 2));
    }
    marks
}

/// Every load with every server.
pub(crate) fn comparison_table(comparisons: &[Comparison], targets: &[Target]) -> String {
    let mut table = String::from(
        "| load | server | CPU per review (µs) | times the ceiling | over it (µs) | a second | p50 (ms) | p99 (ms) | p99.9 (ms) |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for comparison in comparisons {
        let Comparison { body, protocol, connections, rate, .. } = comparison;
        let at = rate.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
        for (server, target) in targets.iter().enumerate() {
            let load = match server {
                CEILING => format!("{}, {}, {connections}{at}", body.name, protocol.as_str()),
                _ => String::new(),
            };
            let (times, over) = match server {
                CEILING => (String::new(), String::new()),
                _ => (
                    format!("{:.2}", comparison.against_ceiling(server, cpu, |own, ceiling| own / ceiling)),
                    format!("{:.1}", comparison.against_ceiling(server, cpu, |own, ceiling| own - ceiling)),
                ),
            };
            let spread = |figure: fn(&Outcome) -> f64| comparison.spread(server, figure);
            table += &format!(
                "| {load} | {} | {:.1} | {times} | {over} | {:.0} | {:.3} | {:.3} | {:.3} |\n",
                target.name,
                spread(cpu),
                spread(|outcome| outcome.rate).median,
                spread(|outcome| outcome.p50).median,
                spread(|outcome| outcome.p99),
                spread(|outcome| outcome.p999).median,
            );
        }
    }
    table
}

/// What a container more costs, from the two bodies.
pub(crate) fn per_container(comparisons: &[Comparison]) -> String {
    let over = |protocol: Protocol, is_small: bool| {
        let found = comparisons.iter().find(|comparison| {
            comparison.protocol == protocol
                && comparison.connections == MARKED_CONNECTIONS
                && (comparison.body.containers == 2) == is_small
        });
        found.map(|found| {
            (found.against_ceiling(MIRRORGATE, cpu, |own, ceiling| own - ceiling).median, found.body.containers)
        })
    };
    let each: Vec<String> = Protocol::BOTH
        .into_iter()
        .filter_map(|protocol| {
            let ((small, few), (large, many)) = (over(protocol, true)?, over(protocol, false)?);
            Some(format!("{:.2} µs over {}", (large - small) / f64::from(many - few), protocol.as_str()))
        })
        .collect();
    match each.as_slice() {
        [] => String::new(),
        each => format!("Beyond the ceiling, a container more costs {}.\n", each.join(", ")),
    }
}

/// Starts and memory of the servers that were started here.
pub(crate) fn process_table(starts: &Starts, memory: &[(&str, Option<f64>, f64, f64)]) -> String {
    let mut table = String::from(
        "| server | start to first answer (ms) | resident, idle (MiB) | after the load | at most |\n| --- | --- | --- | --- | --- |\n",
    );
    for (name, idle, after, most) in memory {
        let start = starts.of(name).map(|spread| format!("{spread:.1}")).unwrap_or_default();
        let idle = idle.map(|idle| format!("{idle:.1}")).unwrap_or_default();
        table += &format!("| {name} | {start} | {idle} | {after:.1} | {most:.1} |\n");
    }
    table
}

/// Where, when and with what it was measured.
pub(crate) fn conditions(settings: &Settings, cores: Cores, load_before: &str) -> String {
    format!(
        "Measured on {machine}; {oha}; {binary}. \
         Server on core {server}, load on core {generator}; {rounds} rounds of {seconds} s each; mirrorgate's log as {log} into a pipe. \
         Load average before and after: {load_before}; {load_after}.\n",
        machine = machine::told(),
        oha = machine::said(&settings.oha.to_string_lossy(), &["--version"]),
        binary = match &settings.mirrorgate {
            Some(path) => path.display().to_string(),
            None if cfg!(debug_assertions) => "**not optimised**".to_owned(),
            None => "built as released".to_owned(),
        },
        server = cores.server,
        generator = cores.generator,
        rounds = settings.rounds,
        seconds = settings.time.as_secs_f64(),
        log = settings.log_format,
        load_after = machine::load_average(),
    )
}

/// One figure by itself.
pub(crate) fn alone(figure: f64) -> Spread {
    Spread::of([figure])
}

fn cpu(outcome: &Outcome) -> f64 {
    outcome.cpu_per_review
}
