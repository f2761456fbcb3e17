//! Costs of calls, measured in turn, so that what else the machine does falls on all of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// So often each call is measured, with all others in between.
const ROUNDS: usize = 401;
/// How long calls are repeated for one figure of a round, and before it: short, so that few of them are interrupted.
const BATCH: Duration = Duration::from_millis(1);
const WARM_UP: Duration = Duration::from_micros(300);

/// What is measured at one place of the x axis.
pub(crate) struct Call<'a> {
    pub(crate) x: f64,
    pub(crate) call: Box<dyn Fn() + 'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn new<T>(x: usize, call: impl Fn() -> T + 'a) -> Self {
        Self { x: x as f64, call: Box::new(move || drop(black_box(call()))) }
    }

    /// How often it is called in a time, about.
    fn repeats(&self, time: Duration) -> u32 {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed() < time {
            (self.call)();
            count += 1;
        }
        count
    }

    fn seconds(&self, repeats: u32) -> f64 {
        let started = Instant::now();
        (0..repeats).for_each(|_| (self.call)());
        started.elapsed().as_secs_f64() / f64::from(repeats)
    }
}

/// The figures of one call, of each round one.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) x: f64,
    /// In microseconds.
    pub(crate) rounds: Vec<f64>,
}

impl Sample {
    pub(crate) fn median(&self) -> f64 {
        quantile(self.rounds.clone(), 0.5)
    }

    /// Between these lies the middle half of the rounds.
    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (quantile(self.rounds.clone(), 0.25), quantile(self.rounds.clone(), 0.75))
    }
}

/// Calls `of` with the figures of each round, and takes the median: what slowed down a whole round does not count.
pub(crate) fn ratio(samples: &[&Sample], of: impl Fn(&[f64]) -> f64) -> f64 {
    let rounds = samples[0].rounds.len();
    quantile(
        (0..rounds).map(|round| of(&samples.iter().map(|sample| sample.rounds[round]).collect::<Vec<_>>())).collect(),
        0.5,
    )
}

/// Measures each call once a round.
pub(crate) fn measure(calls: &[Call<'_>]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = calls.iter().map(|call| Sample { x: call.x, rounds: Vec::new() }).collect();
    let repeats: Vec<u32> = calls.iter().map(|call| call.repeats(50 * BATCH).div_ceil(50)).collect();
    for _ in 0..ROUNDS {
        for ((call, &repeats), sample) in calls.iter().zip(&repeats).zip(&mut samples) {
            call.repeats(WARM_UP);
            sample.rounds.push(call.seconds(repeats) * 1e6);
        }
    }
    samples
}

fn quantile(mut figures: Vec<f64>, part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[((figures.len() - 1) as f64 * part).round() as usize]
}
