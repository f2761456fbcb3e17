//! What was measured, in Markdown, as it stands in `benches/README.md`.

use std::fmt::{self, Write as _};

use crate::CONCURRENCIES;
use crate::creations::Sample;
use crate::scene::spread::Spread;
use crate::ways::{CEILING, MIRRORGATE, NONE, PATCHING};

/// Of the ceiling's rate, and milliseconds over its p50.
const MARKS: (f64, f64) = (0.95, 0.05);

/// The samples of one concurrency: round by round, those of all ways.
pub(crate) type Rounds = Vec<Vec<Sample>>;

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, p50, p99, api_server, webhook } = self;
        write!(f, "{rate:.0} a second, p50 {p50:.3} ms, p99 {p99:.2} ms, CPU of API server {api_server:.3} ms each")?;
        webhook.map_or(Ok(()), |webhook| write!(f, ", of webhook {webhook:.3} ms"))
    }
}

/// The tables: each way by itself, and pair by pair.
pub(crate) fn tables(names: &[&str], measured: &[Rounds; CONCURRENCIES.len()]) -> String {
    let mut page = String::from(
        "| pods created (median, least and most) | at once | a second | p50, ms | p99, ms | adds to p50, ms | CPU each, ms: API server | webhook |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (concurrency, rounds) in CONCURRENCIES.iter().zip(measured) {
        for (way, name) in names.iter().enumerate() {
            let of = |value: fn(&Sample) -> f64| Spread::of(rounds.iter().map(|round| value(&round[way])));
            let webhook = rounds.iter().filter_map(|round| round[way].webhook).collect::<Vec<_>>();
            let added =
                if way == NONE { String::new() } else { added(rounds, way, NONE).text(|ms| format!("{ms:+.3}")) };
            // Writing to a `String` does not fail.
            let _ = writeln!(
                page,
                "| {name} | {concurrency} | {} | {} | {} | {added} | {:.3} | {} |",
                of(|sample| sample.rate).text(|rate| format!("{rate:.0}")),
                of(|sample| sample.p50).text(|ms| format!("{ms:.3}")),
                of(|sample| sample.p99).text(|ms| format!("{ms:.2}")),
                of(|sample| sample.api_server).median,
                if webhook.is_empty() { String::new() } else { format!("{:.3}", Spread::of(webhook).median) },
            );
        }
    }
    page += "\n| round by round | at once | ratio of the rates | at least 0.95 | p50, ms more | at most +0.05 |\n\
             | --- | --- | --- | --- | --- | --- |\n";
    for (way, other) in [(MIRRORGATE, CEILING), (MIRRORGATE, PATCHING), (PATCHING, CEILING)] {
        for (concurrency, rounds) in CONCURRENCIES.iter().zip(measured) {
            let rates = Spread::of(rounds.iter().map(|round| round[way].rate / round[other].rate));
            let added = added(rounds, way, other);
            // What the API server does with a patch has no mark.
            let mark = |met: bool| {
                if way != MIRRORGATE {
                    ""
                } else if met {
                    "met"
                } else {
                    "missed"
                }
            };
            let _ = writeln!(
                page,
                "| {} against {} | {concurrency} | {} | {} | {} | {} |",
                names[way],
                names[other],
                rates.text(|ratio| format!("{ratio:.3}")),
                mark(rates.median >= MARKS.0),
                added.text(|ms| format!("{ms:+.3}")),
                mark(added.median <= MARKS.1),
            );
        }
    }
    page
}

/// How much more the p50 of a way is than that of another.
fn added(rounds: &Rounds, way: usize, other: usize) -> Spread {
    Spread::of(rounds.iter().map(|round| round[way].p50 - round[other].p50))
}
