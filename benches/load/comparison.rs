//! The servers in turn under the same load.

use std::path::PathBuf;
use std::time::Duration;

use crate::generator::{Generator, Load, Outcome, Protocol, Target};
use crate::scene::spread::Spread;

/// A body, and the file that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) containers: u32,
    pub(crate) path: PathBuf,
}

/// One load, and what came of it in each round.
pub(crate) struct Comparison {
    pub(crate) body: Body,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    pub(crate) rate: Option<f64>,
    /// By server: the ceiling first, then mirrorgate, then the peers.
    outcomes: Vec<Vec<Outcome>>,
}

impl Comparison {
    /// Drives each target once unmeasured, and then all in turn, `rounds` times.
    pub(crate) fn make(
        generator: &Generator,
        targets: &[Target],
        body: &Body,
        (protocol, connections, rate): (Protocol, u32, Option<f64>),
        (rounds, time): (u32, Duration),
    ) -> anyhow::Result<Comparison> {
        let load = Load { body: &body.path, protocol, connections, rate, time };
        for target in targets {
            generator.run(target, Load { time: time.min(Duration::from_secs(1)), ..load })?;
        }
        let mut outcomes = vec![Vec::new(); targets.len()];
        for _ in 0..rounds {
            for (outcomes, target) in outcomes.iter_mut().zip(targets) {
                outcomes.push(generator.run(target, load)?);
            }
        }
        let made = Comparison { body: body.clone(), protocol, connections, rate, outcomes };
        let each: Vec<String> = targets
            .iter()
            .enumerate()
            .map(|(server, target)| {
                let cpu = made.spread(server, |outcome| outcome.cpu_per_review);
                format!("{} {cpu:.1} µs", target.name)
            })
            .collect();
        let at = rate.map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
        anstream::eprintln!("{}, {}, on {connections}{at}: {}", body.name, protocol.as_str(), each.join(", "));
        Ok(made)
    }

    /// A figure of one server.
    pub(crate) fn spread(&self, server: usize, figure: impl Fn(&Outcome) -> f64) -> Spread {
        Spread::of(self.of(server).iter().map(figure))
    }

    /// A figure of one server against that of the ceiling, round by round.
    pub(crate) fn against_ceiling(
        &self,
        server: usize,
        figure: impl Fn(&Outcome) -> f64,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Spread {
        let pairs = self.of(server).iter().zip(self.of(CEILING));
        Spread::of(pairs.map(|(server, ceiling)| compare(figure(server), figure(ceiling))))
    }

    fn of(&self, server: usize) -> &[Outcome] {
        self.outcomes.get(server).map_or(&[], Vec::as_slice)
    }
}

/// Where the servers stand in a comparison.
pub(crate) const CEILING: usize = 0;
/// See [`CEILING`].
pub(crate) const MIRRORGATE: usize = 1;
