//! Which probe runs next: one at a time for a registry, and so many at once that no kind of registry waits for another.
//!
//! It knows neither tasks nor clocks. Whoever runs the probes takes from [`Desk::next`] what is to be begun, from
//! [`Desk::cancelled`] what is to be broken off, and says by [`Desk::end`] what ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::cache::{Kept, Under};
use super::question::{Lane, Question};
use crate::review::Verdict;

/// So many registries at most that only a `*.suffix` or the `*` brought in are asked or wait for it, for each of both.
const MOST_OF_A_LANE: usize = 256;

const LANES: usize = 3;

/// A probe that is asked for, with everybody who waits for it.
#[derive(Debug)]
pub(super) struct Flight {
    /// Each start has its own.
    id: u64,
    pub(super) under: Under,
    pub(super) question: Arc<Question>,
    pub(super) waiters: Vec<oneshot::Sender<Verdict>>,
    /// The verdict in force that it is to renew.
    pub(super) renews: Option<Arc<Kept>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has a turn in the queue of this number.
    Queued(usize),
    /// Another of the same registry runs.
    Held,
    Running,
}

/// A probe to begin.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) id: u64,
    pub(super) question: Arc<Question>,
}

/// There are too many already.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) waiter: Option<oneshot::Sender<Verdict>>,
}

/// What is asked for and what runs.
#[derive(Debug)]
pub(super) struct Desk {
    most: usize,
    flights: HashMap<Arc<str>, Vec<Flight>>,
    /// Those that somebody waits for, lane by lane, and behind them those that are asked ahead. A turn whose flight went
    /// or moved on counts for nothing.
    queues: [VecDeque<(Arc<str>, u64)>; 2 * LANES],
    /// Of each lane.
    flying: [usize; LANES],
    running: [usize; LANES],
    cancelled: Vec<u64>,
    last_id: u64,
}

impl Flight {
    fn lane(&self) -> usize {
        self.question.lane() as usize
    }

    /// Whether somebody waits for it still: the reviews of a pod's author end, and what they asked for does not.
    fn is_awaited(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.is_closed())
    }

    fn queue(&self) -> usize {
        if self.waiters.is_empty() { LANES + self.lane() } else { self.lane() }
    }
}

impl Desk {
    /// Nothing is asked for; at most `most` probes run at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            flights: HashMap::new(),
            queues: Default::default(),
            flying: [0; LANES],
            running: [0; LANES],
            cancelled: Vec::new(),
            last_id: 0,
        }
    }

    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// A probe is wanted. It joins one of the same policy: those who wait are then told by the newer roots. One of an older
    /// policy that runs is broken off, and begun again behind this one where somebody waits for it.
    pub(super) fn ask(
        &mut self,
        under: Under,
        question: Question,
        waiter: Option<oneshot::Sender<Verdict>>,
        renews: Option<Arc<Kept>>,
    ) -> Result<(), Full> {
        let registry = question.registry().as_str();
        let siblings = self.flights.get_mut(registry);
        if let Some(siblings) = siblings
            && let Some(at) = siblings.iter().position(|flight| flight.under.generation == under.generation)
        {
            let flight = &mut siblings[at];
            let starts_anew = flight.under < under;
            flight.waiters.extend(waiter);
            if starts_anew {
                flight.under = under;
                flight.question = Arc::new(question);
                flight.renews = renews;
            }
            match flight.state {
                State::Running if starts_anew => {
                    let registry = flight.question.registry().as_str().into();
                    self.halt(&registry, at);
                    self.queue(&registry, at, true);
                }
                State::Queued(queue) if queue != flight.queue() => {
                    let registry = flight.question.registry().as_str().into();
                    self.queue(&registry, at, false);
                }
                _ => {}
            }
            return Ok(());
        }

        let lane = question.lane();
        let is_full = lane != Lane::Named && self.flying[lane as usize] >= MOST_OF_A_LANE;
        if is_full && (waiter.is_none() || !self.evict(lane as usize)) {
            return Err(Full { waiter });
        }
        let registry: Arc<str> = registry.into();
        self.give_way(&registry, under);
        self.last_id += 1;
        let flight = Flight {
            id: self.last_id,
            under,
            question: Arc::new(question),
            waiters: waiter.into_iter().collect(),
            renews,
            state: State::Held,
        };
        self.flying[lane as usize] += 1;
        let siblings = self.flights.entry(Arc::clone(&registry)).or_default();
        siblings.push(flight);
        let at = siblings.len() - 1;
        self.queue(&registry, at, false);
        Ok(())
    }

    /// Makes room in a full lane for somebody who waits: the oldest goes that nobody waits for and that does not run.
    fn evict(&mut self, lane: usize) -> bool {
        let flights =
            self.flights.iter().flat_map(|(registry, siblings)| siblings.iter().map(move |flight| (registry, flight)));
        let idle = flights
            .filter(|(_, flight)| flight.lane() == lane && flight.state != State::Running && !flight.is_awaited())
            .min_by_key(|(_, flight)| flight.id)
            .map(|(registry, flight)| (Arc::clone(registry), flight.id));
        let Some((registry, id)) = idle else { return false };
        if let Some(siblings) = self.flights.get_mut(&registry) {
            siblings.retain(|flight| flight.id != id);
            if siblings.is_empty() {
                self.flights.remove(&registry);
            }
        }
        self.queues.iter_mut().for_each(|queue| queue.retain(|(_, turn)| *turn != id));
        self.flying[lane] -= 1;
        true
    }

    /// Breaks off what runs of an older policy. Where nobody waits for it, it is not begun again.
    fn give_way(&mut self, registry: &Arc<str>, under: Under) {
        let Some(siblings) = self.flights.get(registry) else { return };
        if let Some(at) = siblings.iter().position(|flight| flight.state == State::Running && flight.under < under) {
            self.halt(registry, at);
        }
        let Some(siblings) = self.flights.get_mut(registry) else { return };
        let flying = &mut self.flying;
        siblings.retain_mut(|flight| {
            flight.waiters.retain(|waiter| !waiter.is_closed());
            let stays = !flight.waiters.is_empty() || flight.under > under;
            if !stays {
                flying[flight.lane()] -= 1;
            }
            stays
        });
    }

    /// Breaks off a probe that runs, so that it can be begun again.
    fn halt(&mut self, registry: &Arc<str>, at: usize) {
        let Some(flight) = self.flights.get_mut(registry).and_then(|siblings| siblings.get_mut(at)) else { return };
        self.running[flight.lane()] -= 1;
        self.cancelled.push(flight.id);
        self.last_id += 1;
        flight.id = self.last_id;
        flight.state = State::Held;
    }

    fn queue(&mut self, registry: &Arc<str>, at: usize, first: bool) {
        let Some(flight) = self.flights.get_mut(registry).and_then(|siblings| siblings.get_mut(at)) else { return };
        let queue = flight.queue();
        flight.state = State::Queued(queue);
        let turn = (Arc::clone(registry), flight.id);
        if first { self.queues[queue].push_front(turn) } else { self.queues[queue].push_back(turn) }
    }

    /// The next probe to begin, if there is room for one.
    pub(super) fn next(&mut self) -> Option<Start> {
        for number in 0..self.queues.len() {
            while self.has_room(number % LANES) {
                let Some((registry, id)) = self.queues[number].pop_front() else { break };
                let Some(siblings) = self.flights.get_mut(&registry) else { continue };
                let is_busy = siblings.iter().any(|flight| flight.state == State::Running);
                let turn = |flight: &&mut Flight| flight.id == id && flight.state == State::Queued(number);
                let Some(flight) = siblings.iter_mut().find(turn) else { continue };
                if number < LANES && !flight.is_awaited() {
                    // Those who waited have left: behind all for whom somebody waits.
                    flight.waiters.clear();
                    flight.state = State::Queued(LANES + number);
                    self.queues[LANES + number].push_back((registry, id));
                    continue;
                }
                if is_busy {
                    flight.state = State::Held;
                    continue;
                }
                flight.state = State::Running;
                self.running[number % LANES] += 1;
                return Some(Start { id, question: Arc::clone(&flight.question) });
            }
        }
        None
    }

    /// Registries that the policy does not name in full leave a quarter of the room to those that it does, and those that
    /// only the `*` brought in leave half of it to all others. Where only one may be asked at a time there is nothing to
    /// leave: one of those that the policy names is asked besides.
    fn has_room(&self, lane: usize) -> bool {
        let parts = [4, 3, 2];
        let room = (self.most * parts[lane] / 4).max(1);
        let is_first = lane == Lane::Named as usize && self.running[lane] == 0;
        is_first || self.running.iter().sum::<usize>() < self.most && self.running[lane..].iter().sum::<usize>() < room
    }

    /// The starts that are to be broken off; each is told once.
    pub(super) fn cancelled(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.cancelled)
    }

    /// A probe ended. `None`: it was broken off before.
    pub(super) fn end(&mut self, registry: &str, id: u64) -> Option<Flight> {
        let (registry, siblings) = self.flights.remove_entry(registry)?;
        let mut siblings = siblings;
        let at = siblings.iter().position(|flight| flight.id == id && flight.state == State::Running);
        let ended = at.map(|at| siblings.swap_remove(at));
        if let Some(flight) = &ended {
            self.running[flight.lane()] -= 1;
            self.flying[flight.lane()] -= 1;
            // The newest policy first.
            siblings.sort_unstable_by_key(|flight| std::cmp::Reverse(flight.under));
        }
        if siblings.is_empty() {
            return ended;
        }
        let held: Vec<usize> = (0..siblings.len()).filter(|&at| siblings[at].state == State::Held).collect();
        self.flights.insert(Arc::clone(&registry), siblings);
        if ended.is_some() {
            held.into_iter().for_each(|at| self.queue(&registry, at, false));
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::probe::Bundles;

    const UNDER: Under = Under { generation: 1, revision: 0 };
    const POLICY: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n\
                          trust: {registries: [named-1.test, named-2.test, named-3.test, '*.suffix.test', '*']}\n";

    fn question(registry: &str) -> Question {
        let policy = Policy::read(POLICY).unwrap().policy;
        Question::new(&policy, &Bundles::default(), registry).unwrap()
    }

    /// These are asked ahead, in this order; which of them are begun, and their ids.
    fn begun(desk: &mut Desk, registries: &[&str]) -> Vec<(String, u64)> {
        for registry in registries {
            desk.ask(UNDER, question(registry), None, None).unwrap();
        }
        std::iter::from_fn(|| desk.next())
            .map(|Start { id, question }| (question.registry().as_str().to_owned(), id))
            .collect()
    }

    fn names(begun: &[(String, u64)]) -> Vec<&str> {
        begun.iter().map(|(registry, _)| registry.as_str()).collect()
    }

    #[test]
    fn p2_each_lane_leaves_room_for_those_above_it() {
        for (most, expected) in [
            (1, vec!["a.test"]),
            (2, vec!["a.test"]),
            (4, vec!["a.test", "b.test", "a.suffix.test"]),
            (8, vec!["a.test", "b.test", "c.test", "d.test", "a.suffix.test", "b.suffix.test"]),
        ] {
            let mut desk = Desk::new(most);
            let mut first = names(&begun(&mut desk, &["a.test", "b.test", "c.test", "d.test"])).join(" ");
            for suffix in ["a.suffix.test", "b.suffix.test"] {
                let more = begun(&mut desk, &[suffix]);
                first += &names(&more).iter().map(|name| format!(" {name}")).collect::<String>();
            }
            assert_eq!(first.split(' ').collect::<Vec<_>>(), expected, "{most} at once");
            // What the policy names has the rest, or one besides where there is no rest.
            let named = begun(&mut desk, &["named-1.test", "named-2.test", "named-3.test"]);
            assert_eq!(named.len(), (most - expected.len()).clamp(1, 3), "{most} at once");
        }
    }

    #[test]
    fn what_is_waited_for_goes_first_and_each_end_makes_room() {
        let mut desk = Desk::new(1);
        let first = begun(&mut desk, &["named-1.test", "named-2.test", "a.test"]);
        assert_eq!(names(&first), ["named-1.test"]);
        let (waiter, _answer) = oneshot::channel();
        desk.ask(UNDER, question("a.test"), Some(waiter), None).unwrap();
        assert!(desk.next().is_none());
        assert!(desk.end("named-1.test", first[0].1).is_some());
        let second = begun(&mut desk, &[]);
        // One that the policy names has its own turn.
        assert_eq!(names(&second), ["a.test", "named-2.test"]);
        assert_eq!(desk.end("a.test", second[0].1).unwrap().waiters.len(), 1);
        assert!(begun(&mut desk, &[]).is_empty());
        // An end that was told before, or of nobody, changes nothing.
        assert!(desk.end("a.test", second[0].1).is_none() && desk.end("named-2.test", 99).is_none());
        assert!(begun(&mut desk, &["named-1.test"]).is_empty());
    }

    #[test]
    fn p3_of_another_policy_only_what_somebody_waits_for_is_begun_again() {
        let mut desk = Desk::new(4);
        let (waiter, _answer) = oneshot::channel();
        desk.ask(UNDER, question("a.test"), Some(waiter), None).unwrap();
        desk.ask(UNDER, question("named-1.test"), None, None).unwrap();
        let older = begun(&mut desk, &[]);
        assert_eq!(names(&older), ["a.test", "named-1.test"]);
        let newer = Under { generation: 2, ..UNDER };
        desk.ask(newer, question("a.test"), None, None).unwrap();
        desk.ask(newer, question("named-1.test"), None, None).unwrap();
        let mut cancelled = desk.cancelled();
        cancelled.sort_unstable();
        assert_eq!((cancelled, desk.cancelled()), (vec![older[0].1, older[1].1], Vec::new()));
        let again = begun(&mut desk, &[]);
        assert_eq!(names(&again), ["named-1.test", "a.test"]);
        assert_eq!(desk.end("named-1.test", again[0].1).unwrap().under, newer);
        assert_eq!(desk.end("a.test", again[1].1).unwrap().under, newer);
        let last = begun(&mut desk, &[]);
        assert_eq!(names(&last), ["a.test"]);
        assert_eq!(desk.end("a.test", last[0].1).unwrap().under, UNDER);
        assert!(desk.flights.is_empty() && desk.flying == [0; LANES] && desk.running == [0; LANES]);
    }

    fn wait_for(desk: &mut Desk, registry: &str) -> Option<oneshot::Receiver<Verdict>> {
        let (waiter, answer) = oneshot::channel();
        desk.ask(UNDER, question(registry), Some(waiter), None).is_ok().then_some(answer)
    }

    /// Whoever fills the lane and leaves must not keep others out of it, nor must what is asked ahead.
    #[test]
    fn p2_what_nobody_waits_for_any_more_keeps_nobody_out() {
        let mut desk = Desk::new(4);
        let hosts = 0..MOST_OF_A_LANE;
        let left: Vec<_> = hosts.map(|host| wait_for(&mut desk, &format!("host{host}.test")).unwrap()).collect();
        assert!(wait_for(&mut desk, "good.test").is_none());
        let running = begun(&mut desk, &[]);
        assert_eq!(names(&running), ["host0.test", "host1.test"]);
        drop(left);
        let good = wait_for(&mut desk, "good.test");
        assert!(good.is_some() && desk.ask(UNDER, question("ahead.test"), None, None).is_err());
        assert!(desk.flying[Lane::Any as usize] == MOST_OF_A_LANE && !desk.flights.contains_key("host2.test"));
        // And it is the next: before all whom nobody waits for.
        for ((registry, id), next) in running.iter().zip(["good.test", "host3.test"]) {
            assert!(desk.end(registry, *id).is_some());
            assert_eq!(names(&begun(&mut desk, &[])), [next]);
        }
        assert!(desk.queues.iter().map(VecDeque::len).sum::<usize>() < MOST_OF_A_LANE);
    }
}
