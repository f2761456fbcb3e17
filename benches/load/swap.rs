//! A policy of 10,000 hosts that is put in force under load.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use mirrorgate::files::LOOK_EVERY;
use mirrorgate::policy::Policy;
use tokio::runtime::Runtime;

use crate::client::{Call, Client, steady};
use crate::figures::percentile;
use crate::process::Server;
use crate::scene::marks::Mark;
use crate::scene::spread::Spread;
use crate::scenery::Scenery;

/// On so many connections.
const CONNECTIONS: u32 = 8;
/// A client in this process, beside its registry and the reader of the log, has no more than a part of a core.
const MOST_CALLS: f64 = 3000.0;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Swaps {
    rate: f64,
    bytes: usize,
    compiled: Spread,
    in_force: Spread,
    p99: Spread,
    p99_of_others: Spread,
    ratio: Spread,
    slowest: Spread,
}

impl Swaps {
    /// Puts `large` in the place of `policy.yaml` in the midst of calls, and `small` back, `rounds` times.
    pub(crate) fn make(
        runtime: &Runtime,
        scenery: &Scenery,
        server: &mut Server,
        client: &Client,
        (small, large): (&str, &str),
        (body, rate, rounds): (&Bytes, f64, u32),
    ) -> anyhow::Result<Swaps> {
        let rate = rate.min(MOST_CALLS);
        let (mut compiled, mut in_force) = (Vec::new(), Vec::new());
        let (mut p99, mut p99_of_others, mut ratio, mut slowest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            Policy::read(large).ok().context("the policy of 10,000 hosts has faults")?;
            compiled.push(begun.elapsed().as_secs_f64() * 1e3);

            let (client, body) = (client.clone(), body.clone());
            let start = tokio::time::Instant::now();
            let end = start + 4 * SECOND;
            let calls = runtime.spawn(async move { steady(&client, CONNECTIONS, rate, &body, end).await });
            // The first second is the others', and so is the one behind that of the swap.
            std::thread::sleep(SECOND);
            let swapped = Instant::now();
            scenery.write("policy.yaml", large)?;
            let (_, at) = server.wait_for("policy in force")?;
            in_force.push(at.duration_since(swapped).as_secs_f64() * 1e3);
            let calls = runtime.block_on(calls).context("the calls")??;
            scenery.write("policy.yaml", small)?;
            server.wait_for("policy in force")?;

            let swapped = tokio::time::Instant::from_std(swapped);
            let (of_the_swap, others): (Vec<Call>, Vec<Call>) =
                calls.into_iter().partition(|call| call.due >= swapped && call.due < swapped + SECOND);
            let latencies = |calls: &[Call]| calls.iter().map(|call| call.took.as_secs_f64() * 1e3).collect::<Vec<_>>();
            let (of_the_swap, others) = (latencies(&of_the_swap), latencies(&others));
            slowest.push(percentile(of_the_swap.clone(), 1.0));
            let (this, that) = (percentile(of_the_swap, 0.99), percentile(others, 0.99));
            p99.push(this);
            p99_of_others.push(that);
            ratio.push(this / that);
        }
        let of = |figures: Vec<f64>| Spread::of(figures);
        Ok(Swaps {
            rate,
            bytes: large.len(),
            compiled: of(compiled),
            in_force: of(in_force),
            p99: of(p99),
            p99_of_others: of(p99_of_others),
            ratio: of(ratio),
            slowest: of(slowest),
        })
    }

    pub(crate) fn marks(&self) -> [Mark; 2] {
        [
            Mark::at_most("policy of 10,000 hosts compiled", self.compiled, 50.0, " ms", 1),
            Mark::at_most(
                "p99 of the second in which it is swapped in, against the others'",
                self.ratio,
                1.5,
                " times",
                2,
            ),
        ]
    }

    pub(crate) fn markdown(&self) -> String {
        let Swaps { rate, bytes, compiled, in_force, p99, p99_of_others, ratio, slowest } = self;
        format!(
            "| a policy of 10,000 hosts ({bytes} bytes) swapped in at {rate:.0} calls a second on {CONNECTIONS} connections | figure |\n| --- | --- |\n\
             | read and compiled, in the process of the bench | {compiled:.1} ms |\n\
             | from the file's replacement to \"policy in force\"; the file is looked at every {} ms | {in_force:.0} ms |\n\
             | p99 in the second of the swap, and in the others | {p99:.2}, {p99_of_others:.2} ms |\n\
             | their ratio | {ratio:.2} |\n\
             | slowest call in the second of the swap | {slowest:.1} ms |\n",
            LOOK_EVERY.as_millis()
        )
    }
}
