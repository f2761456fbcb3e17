//! Reviews without their network, from the bytes of a body to those of the answer: every verdict is known.

use std::fmt::Write as _;

use mirrorgate::json::Reader;

use super::Curve;
use super::chart::{Axis, Chart, Limit, Line};
use super::marks::Mark;
use super::measure::{Call, Sample, measure, ratio};
use super::scene::{self, Scene, bodies};

const COST: &str = "µs a review";

pub(crate) fn hosts() -> Curve {
    let body = bodies::small();
    let scenes =
        [10, 30, 100, 300, 1000, 3000, 10_000].map(|hosts| (hosts, Scene::new(&scene::policy(hosts), &[&body])));
    flat(
        "A review against the hosts that the policy lists",
        "hosts in the policy",
        "10 to 10,000 hosts",
        Some(1.1),
        &scenes,
        |_| body.clone(),
    )
}

/// The body of each scene is to cost the same.
pub(crate) fn flat(
    title: &'static str,
    label: &'static str,
    what: &'static str,
    most: Option<f64>,
    scenes: &[(usize, Scene)],
    body: impl Fn(usize) -> Vec<u8>,
) -> Curve {
    let calls = scenes.iter().map(|(size, scene)| {
        let body = body(*size);
        Call::new(*size, move || scene.review(&body))
    });
    let samples = measure(&calls.collect::<Vec<_>>());
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { unreachable!("there are scenes") };
    let mark = Mark { what, ratio: ratio(&[first, last], |costs| costs[1] / costs[0]), most };
    let limit = most.map(|most| Limit {
        name: format!("mark: {most} times the first"),
        points: [first.x, last.x].map(|x| (x, first.median() * most)).to_vec(),
    });
    Curve {
        chart: Chart {
            title,
            said: mark.line(),
            x: Axis::decades(label, first.x, last.x, ""),
            y: Axis::from_zero(COST, Chart::highest(&samples, &limit)),
            lines: vec![Line { name: "2 containers, 4.5 kB", samples }],
            limit,
        },
        marks: vec![mark],
    }
}

pub(crate) fn containers() -> Curve {
    const COUNTS: [usize; 11] = [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50];
    let images: Vec<String> = (0..50).map(|number| format!("team/service-{number:02}:1.27")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let bodies = COUNTS.map(|count| (count, bodies::of(&images[..count])));
    let scene = Scene::new(&scene::policy(10), &[&bodies[0].1]);
    let calls: Vec<_> = bodies.iter().map(|(count, body)| Call::new(*count, || scene.review(body))).collect();
    let samples = measure(&calls);
    let [one, half, all] = [0, 5, 10].map(|place: usize| &samples[place]);
    // By what each more of them costs: what the first brings along would hide it.
    let low = |costs: &[f64]| (costs[1] - costs[0]) / (half.x - one.x);
    let high = |costs: &[f64]| (costs[2] - costs[1]) / (all.x - half.x);
    let mark = Mark {
        what: "a container of the second 25 to one of the first 25",
        ratio: ratio(&[one, half, all], |costs| high(costs) / low(costs)),
        most: Some(1.1),
    };
    let each = ratio(&[one, half], low);
    let at = |x: f64| one.median() + 1.1 * each * (x - one.x);
    let limit = Some(Limit {
        name: "mark: a straight line, 1.1 times as steep as to 25".to_owned(),
        points: vec![(one.x, at(one.x)), (all.x, at(all.x))],
    });
    Curve {
        chart: Chart {
            title: "A review against the containers of the pod",
            said: format!("{each:.2} µs each; {}", mark.line()),
            x: Axis::from_zero("containers, each rewritten", all.x),
            y: Axis::from_zero(COST, Chart::highest(&samples, &limit)),
            lines: vec![Line { name: "review", samples: samples.clone() }],
            limit,
        },
        marks: vec![mark],
    }
}

pub(crate) fn body() -> Curve {
    /// Bytes of managed fields. The fifth is that of the mark.
    const SIZES: [usize; 7] = [0, 2_000, 8_000, 40_000, 200_000, 600_000, 2_000_000];
    let bodies = SIZES.map(bodies::with_managed_fields);
    let scene = Scene::new(&scene::policy(10), &[&bodies[0]]);
    // All in one measurement: what is compared is measured side by side.
    let mut calls = Vec::new();
    for body in &bodies {
        let size = body.len();
        calls.push(Call::new(size, || scene.review(body)));
        calls.push(Call::new(size, || skim(str::from_utf8(body).unwrap())));
        calls.push(Call::new(size, || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()));
    }
    let samples = measure(&calls);
    let of = |which: usize| -> Vec<Sample> { samples.iter().skip(which).step_by(3).cloned().collect() };
    let [review, skimmed, serde] = [of(0), of(1), of(2)];
    let to = |skimmed: &[Sample]| ratio(&[&review[4], &skimmed[4]], |costs| costs[0] / costs[1]);
    let mark =
        Mark { what: "body with 200 kB of managedFields to skimming it once", ratio: to(&skimmed), most: Some(1.3) };
    let by_serde = Mark { what: "the same to serde_json passing it by (`IgnoredAny`)", ratio: to(&serde), most: None };
    let limit = Some(Limit {
        name: "mark: 1.3 times skimming".to_owned(),
        points: skimmed.iter().map(|sample| (sample.x, sample.median() * 1.3)).collect(),
    });
    Curve {
        chart: Chart {
            title: "A review against the size of its body, most of it managedFields",
            said: mark.line(),
            x: Axis::decades("bytes of the body", 2e3, review[6].x, "B"),
            y: Axis::whole_decades(COST, skimmed[0].median(), Chart::highest(&serde, &limit)),
            lines: vec![
                Line { name: "review", samples: review },
                Line { name: "skimming once", samples: skimmed },
                Line { name: "serde_json passing by", samples: serde },
            ],
            limit,
        },
        marks: vec![mark, by_serde],
    }
}

/// Follows the body to its end, with the request path's own reader.
fn skim(body: &str) -> bool {
    let mut json = Reader::new(body);
    json.skip().is_ok() && json.end().is_ok()
}

pub(crate) fn registries() -> Curve {
    let name = |number: usize| format!("registry-{number:04}.team.corp:5000");
    // One image comes from the mirror, one from the registry that is listed last.
    let body = |count: usize| bodies::of(&["nginx:1.27", &format!("{}/team/app:1.27", name(count - 1))]);
    let scenes = [1, 3, 10, 30, 100, 300, 1000].map(|count: usize| {
        let mut policy = scene::policy(10) + "trust:\n  registries:\n";
        let images: Vec<String> = (0..count).map(|number| format!("{}/app:1", name(number))).collect();
        for number in 0..count {
            // Writing to a `String` does not fail.
            let _ = writeln!(policy, "  - \"{}\"", name(number));
        }
        // Reviews that make every verdict known.
        let mut asking: Vec<Vec<u8>> = images
            .chunks(10)
            .map(|images| bodies::of(&images.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        asking.push(body(count));
        let asking: Vec<&[u8]> = asking.iter().map(Vec::as_slice).collect();
        (count, Scene::new(&policy, &asking))
    });
    flat(
        "A review against the registries in trust, with a verdict on each",
        "registries in trust",
        "1 to 1,000 registries in trust",
        None,
        &scenes,
        body,
    )
}
