//! Memory under load that goes on.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::generator::{Generator, Load, Outcome, Target};
use crate::scene::marks::Mark;
use crate::scene::memory::Memory;
use crate::scene::spread::Spread;

const EVERY: Duration = Duration::from_secs(15);
/// Until then the allocator finds its size.
const SETTLED: Duration = Duration::from_secs(120);
/// Of growth is spoken above this share of what there was: the pages of an allocator come and go.
const GROWTH: f64 = 0.02;

pub(crate) struct Soak {
    pub(crate) outcome: Outcome,
    minutes: u32,
    samples: Vec<Sample>,
}

struct Sample {
    after: Duration,
    /// MiB.
    resident: f64,
}

impl Soak {
    /// Drives `target` for so long, and looks at its memory beside.
    pub(crate) fn make(generator: &Generator, target: &Target, load: Load<'_>, minutes: u32) -> anyhow::Result<Soak> {
        let load = Load { time: Duration::from_secs(60 * u64::from(minutes)), ..load };
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| generator.run(target, load));
            let mut samples = Vec::new();
            loop {
                let due = EVERY * (u32::try_from(samples.len()).unwrap_or(u32::MAX - 1) + 1);
                if due > load.time {
                    break;
                }
                while begun.elapsed() < due && !run.is_finished() {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if run.is_finished() {
                    break;
                }
                let sample = Sample { after: begun.elapsed(), resident: Memory::of(target.pid)?.resident };
                anstream::eprintln!("after {:.0} s: {:.1} MiB", sample.after.as_secs_f64(), sample.resident);
                samples.push(sample);
            }
            let Ok(outcome) = run.join() else { bail!("the load ended in a bug") };
            Ok(Soak { outcome: outcome?, minutes, samples })
        })
    }

    pub(crate) fn marks(&self) -> Vec<Mark> {
        let resident = Spread::of(self.samples.iter().map(|sample| sample.resident));
        let what = format!("memory under load on 64 connections for {} minutes, every 15 s", self.minutes);
        let mut marks = vec![Mark::at_most(what, Spread::of([resident.most]), 25.0, " MiB", 1)];
        if let Some((before, after)) = self.halves() {
            marks.push(Mark {
                what: "memory after minute 2: means of the first and of the second half".to_owned(),
                found: format!("{before:.2}, {after:.2} MiB"),
                asked: "no growth".to_owned(),
                is_met: after <= before * (1.0 + GROWTH),
            });
        }
        marks
    }

    pub(crate) fn markdown(&self) -> String {
        let minute = |sample: &Sample| sample.after.as_secs_f64() / 60.0;
        let rows: String = self
            .samples
            .chunks(4)
            .map(|samples| {
                let each: Vec<String> = samples.iter().map(|sample| format!("{:.1}", sample.resident)).collect();
                let last = samples.last().map_or(0.0, minute);
                format!("| {last:.0} | {} |\n", each.join(", "))
            })
            .collect();
        format!(
            "| to minute | resident, every 15 s (MiB); {:.0} reviews a second, {:.1} µs of CPU each |\n| --- | --- |\n{rows}",
            self.outcome.rate, self.outcome.cpu_per_review
        )
    }

    /// Means of what came after it had settled.
    fn halves(&self) -> Option<(f64, f64)> {
        let settled: Vec<f64> =
            self.samples.iter().filter(|sample| sample.after >= SETTLED).map(|sample| sample.resident).collect();
        let (first, second) = settled.split_at_checked(settled.len() / 2)?;
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        (!first.is_empty()).then(|| (mean(first), mean(second)))
    }
}
