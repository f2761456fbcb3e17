//! Three replicas, one Secret, one webhook configuration and two API servers, in any order of events: what the webhooks
//! trust always covers what every replica serves, so that no call fails (trap 24).
//!
//! The rules of the edges are written here once more: a write that is made of an old version is refused, a bundle is
//! overwritten only by who has just read the Secret, a step waits until every API server has surely heard, and who has no
//! pair asks the others before it makes one. One thing is not survived: that all who remember the pair end while the Secret
//! is gone. Then calls fail until all is made anew, and not for longer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mirrorgate::serving::{Found, Held, Others, Renewal, Step, step};
use proptest::prelude::*;

use super::{NAME, days, noon};

/// An API server hears of a changed configuration within this; replicas wait a little longer.
const HEARS_WITHIN: SignedDuration = SignedDuration::from_secs(9);
const HEARD: SignedDuration = SignedDuration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Happens {
    /// A replica sees the Secret as it is.
    Sees(usize),
    /// A replica looks at what is to be done, knowing what it has seen.
    Acts(usize),
    /// A replica looks at the webhooks.
    Mends(usize),
    /// A replica is killed, and another starts in its place.
    Restarts(usize),
    /// A replica asks the others whether any of them serves.
    AsksOthers(usize),
    /// Somebody asks for a renewal.
    Asks(Renewal),
    /// Somebody deletes the Secret.
    Deletes,
    /// An API server hears of the configuration as it is.
    Hears(usize),
    Seconds(i64),
    Days(i64),
}

#[derive(Default)]
struct Replica {
    /// The version that was seen, and what it holds.
    seen: usize,
    in_force: Option<Arc<Held>>,
    /// Since it last saw the Secret, it has heard that nobody serves.
    nobody_serves: bool,
    /// Its clock is wrong by this.
    wrong_by: SignedDuration,
    /// Since when it has seen the webhooks trust what it has in force.
    trusted_since: Option<(Timestamp, Vec<u8>)>,
}

struct World {
    now: Timestamp,
    versions: Vec<Option<(Arc<Held>, Option<Renewal>)>>,
    replicas: [Replica; 3],
    bundle: Vec<u8>,
    changed: Timestamp,
    /// What each API server trusts.
    heard: [Vec<u8>; 2],
    checked: HashMap<(Vec<u8>, Vec<u8>), bool>,
    writes: usize,
    /// Nobody remembers what the webhooks trust.
    is_lost: bool,
    /// What is written lately, to tell of when something is wrong.
    steps: VecDeque<String>,
}

impl World {
    fn new(wrong_by: [i64; 3]) -> Self {
        let replica = |hours| Replica { wrong_by: SignedDuration::from_hours(hours), ..Replica::default() };
        Self {
            now: noon(),
            versions: vec![None],
            replicas: wrong_by.map(replica),
            bundle: Vec::new(),
            changed: noon(),
            heard: Default::default(),
            checked: HashMap::new(),
            writes: 0,
            is_lost: false,
            steps: VecDeque::new(),
        }
    }

    fn happens(&mut self, event: Happens) {
        match event {
            Happens::Sees(replica) => self.sees(replica),
            Happens::Acts(replica) => self.acts(replica),
            Happens::Mends(replica) => self.mends(replica),
            // One that starts reads the Secret before it serves.
            Happens::Restarts(replica) => {
                let wrong_by = self.replicas[replica].wrong_by;
                self.replicas[replica] = Replica { wrong_by, ..Replica::default() };
                self.sees(replica);
                let nobody_remembers = self.replicas.iter().all(|replica| replica.in_force.is_none());
                self.is_lost |= nobody_remembers && !self.bundle.is_empty();
            }
            Happens::AsksOthers(replica) => {
                self.replicas[replica].nobody_serves = self.replicas.iter().all(|other| other.in_force.is_none());
            }
            Happens::Asks(renewal) => {
                if let Some((held, _)) = self.versions.last().unwrap().clone() {
                    self.versions.push(Some((held, Some(renewal))));
                }
            }
            Happens::Deletes => self.versions.push(None),
            Happens::Hears(server) => self.heard[server].clone_from(&self.bundle),
            Happens::Seconds(seconds) => self.passes(SignedDuration::from_secs(seconds)),
            Happens::Days(some) => self.passes(days(some)),
        }
        self.no_call_fails(event);
    }

    fn passes(&mut self, time: SignedDuration) {
        self.now += time;
        if self.now >= self.changed + HEARS_WITHIN {
            self.heard = [self.bundle.clone(), self.bundle.clone()];
        }
    }

    fn sees(&mut self, replica: usize) {
        let newest = self.versions.len() - 1;
        let replica = &mut self.replicas[replica];
        replica.nobody_serves &= replica.seen == newest;
        replica.seen = newest;
        if let Some((held, _)) = &self.versions[newest] {
            // Our own are always in order but for the clock.
            replica.in_force = Some(Arc::clone(held));
        }
    }

    fn acts(&mut self, which: usize) {
        let replica = &self.replicas[which];
        let now = self.now + replica.wrong_by;
        let seen = self.versions[replica.seen].clone();
        let found = seen.as_ref().map_or(Found::Absent, |(held, renewal)| Found::Present(held, *renewal));
        let others = seen.as_ref().map_or(Others::default(), |(held, _)| Others {
            webhooks_have_it: replica
                .trusted_since
                .as_ref()
                .is_some_and(|(since, bundle)| *bundle == held.content().authorities && self.now >= *since + HEARD),
            // Each is asked by a handshake.
            replicas_serve_it: self.replicas.iter().all(|other| {
                let leaf = other.in_force.as_ref().map(|held| held.pair().unwrap().leaf().raw_issuer().to_vec());
                leaf.is_none_or(|issuer| issuer == held.authorities()[0].raw_subject())
            }),
            may_put_it_back: false,
        });
        let may_put_it_back = !self.bundle.is_empty() && replica.in_force.is_none() && !replica.nobody_serves;
        let others = Others { may_put_it_back, ..others };
        let step = step(found, replica.in_force.as_deref(), others, NAME, now);
        // Who may have missed something leaves it for a while to those that are up to date.
        let trusts = |other: &Replica| {
            other
                .in_force
                .as_ref()
                .is_some_and(|held| held.content().authorities == self.bundle || self.bundle.is_empty())
        };
        if step == Step::PutBack && !trusts(replica) && self.replicas.iter().any(trusts) {
            return;
        }
        let Some(content) = step.perform(found, replica.in_force.as_deref(), NAME, now).unwrap() else { return };
        // What is made where nothing was is refused only where something is, whatever was there meanwhile.
        let is_there = self.versions.last().unwrap().is_some();
        if if seen.is_none() { is_there } else { replica.seen != self.versions.len() - 1 } {
            return self.sees(which);
        }
        self.writes += 1;
        self.steps.push_back(format!("{which} at {}: {step:?}", self.now));
        if self.steps.len() > 12 {
            self.steps.pop_front();
        }
        let renewal = seen.and_then(|(_, renewal)| renewal).filter(|renewal| !step.grants(*renewal));
        self.versions.push(Some((Arc::new(Held::read(content)), renewal)));
        self.sees(which);
    }

    fn mends(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        let Some(held) = &replica.in_force else { return };
        let wanted = held.content().authorities.clone();
        if self.bundle != wanted {
            let newest = self.versions.last().unwrap();
            let is_the_secrets = newest.as_ref().is_some_and(|(held, _)| held.content().authorities == wanted);
            replica.trusted_since = None;
            if !(self.bundle.is_empty() || is_the_secrets) {
                return;
            }
            self.writes += 1;
            self.bundle.clone_from(&wanted);
            self.changed = self.now;
        }
        if replica.trusted_since.as_ref().is_none_or(|(_, bundle)| *bundle != wanted) {
            replica.trusted_since = Some((self.now, wanted));
        }
    }

    /// Once there is a bundle that everybody knows.
    fn no_call_fails(&mut self, event: Happens) {
        let failing = self.failing_call();
        if self.is_lost {
            // All is well again when they serve what everybody knows.
            let all_know = self.heard.iter().all(|bundle| *bundle == self.bundle);
            let somebody_serves = self.replicas.iter().any(|replica| replica.in_force.is_some());
            self.is_lost = failing.is_some() || !somebody_serves || !all_know;
            return;
        }
        if let Some(failing) = failing {
            panic!("after {event:?} at {} {failing}\n{:#?}", self.now, self.steps);
        }
    }

    /// A call that would fail, if there is one.
    fn failing_call(&mut self) -> Option<String> {
        for bundle in self.heard.iter().filter(|bundle| !bundle.is_empty()) {
            for (n, replica) in self.replicas.iter().enumerate() {
                let Some(held) = &replica.in_force else { continue };
                let pair = held.pair().unwrap();
                let key = (held.content().certificate.clone(), bundle.clone());
                let trusted = *self.checked.entry(key).or_insert_with(|| {
                    let authorities = mirrorgate::trust::Bundle::read(bundle).certificates;
                    pair.check(Some(&authorities), Some(NAME), pair.leaf().not_after()).is_ok()
                });
                let valid = self.now <= pair.leaf().not_after() && self.now >= pair.leaf().not_before();
                if !(trusted && valid) {
                    return Some(format!("a call to {n} fails: trusted {trusted}, valid {valid}"));
                }
            }
        }
        None
    }

    /// Everybody does what is to be done until nothing is.
    fn settles(&mut self) {
        for _ in 0..12 {
            let writes = self.writes;
            for replica in 0..3 {
                self.happens(Happens::Sees(replica));
                self.happens(Happens::AsksOthers(replica));
                self.happens(Happens::Acts(replica));
            }
            for replica in 0..3 {
                self.happens(Happens::Sees(replica));
                self.happens(Happens::Mends(replica));
            }
            self.happens(Happens::Seconds(11));
            let newest = self.versions.last().unwrap();
            if self.writes == writes && newest.as_ref().is_some_and(|(held, _)| held.authorities().len() == 1) {
                return;
            }
        }
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..3_usize).prop_map(Happens::Sees),
        12 => (0..3_usize).prop_map(Happens::Acts),
        8 => (0..3_usize).prop_map(Happens::Mends),
        2 => (0..3_usize).prop_map(Happens::Restarts),
        4 => (0..3_usize).prop_map(Happens::AsksOthers),
        1 => prop_oneof![Just(Renewal::Certificate), Just(Renewal::Authority)].prop_map(Happens::Asks),
        1 => Just(Happens::Deletes),
        2 => (0..2_usize).prop_map(Happens::Hears),
        6 => (1..12_i64).prop_map(Happens::Seconds),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trap_24_no_call_fails_whatever_happens_in_whatever_order(
        wrong_by in [-12..12_i64, -12..12_i64, -12..12_i64],
        weeks in prop::collection::vec((prop::collection::vec(happens(), 40..80), 1..20_i64), 1..6),
    ) {
        let mut world = World::new(wrong_by);
        world.settles();
        for (events, some_days) in weeks {
            for event in events {
                world.happens(event);
            }
            world.settles();
            // By then everybody has seen everything.
            world.happens(Happens::Days(some_days));
            world.settles();
        }
        prop_assert!(!world.is_lost, "calls fail for ever");
        let writes = world.writes;
        world.settles();
        prop_assert_eq!(world.writes, writes, "somebody still writes");
        let (held, renewal) = world.versions.last().unwrap().clone().unwrap();
        prop_assert_eq!((held.authorities().len(), renewal), (1, None), "a change has not come to its end");
        prop_assert_eq!(&world.bundle, &held.content().authorities);
    }
}

/// Years go by: a certificate every two months, and a CA every seven years.
#[test]
fn years_go_by_without_a_failed_call() {
    let mut world = World::new([0, 5, -7]);
    world.settles();
    let first = world.bundle.clone();
    for _ in 0..244 {
        world.happens(Happens::Days(15));
        world.settles();
    }
    assert!(world.bundle != first, "the CA was never renewed");
    assert!(world.writes < 3 + 62 + 2 * 6, "{} writes in ten years", world.writes);
}

#[test]
fn three_that_start_at_once_agree_on_one_ca() {
    let mut world = World::new([0, 0, 0]);
    // All have seen that there is nothing.
    for replica in 0..3 {
        world.acts(replica);
    }
    assert_eq!(world.versions.len(), 2, "more than one was made");
    world.settles();
    let in_force = world.replicas.each_ref().map(|replica| replica.in_force.as_ref().unwrap().content().clone());
    assert!(in_force.iter().all(|content| *content == in_force[0]));
    assert_eq!(world.bundle, in_force[0].authorities);
}
