//! The connections of one listener: a bounded number of seats. When all are taken and another client comes, one that has
//! nothing to do with us at the moment gives up its seat: clients that hold on to connections lock nobody out.
//!
//! Those go first that never asked anything whole: in a handshake, silent, or slow with headers or a body. Then those that
//! wait for the next call, the longest first, although a call may just be on its way to them (trap 36). Whoever has begun
//! just now stays, and the newcomer waits that long. What is being answered is never ended.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::activity::{Activity, Waiting};

/// What a client has for what it has begun, however many others come: a handshake and a request take milliseconds.
const GRACE: Duration = Duration::from_millis(500);
/// One that is asked to leave does so at once, or a call of its own has come between.
const PATIENCE: Duration = Duration::from_millis(20);

/// How many that never asked anything whole go at a time: where there is one, there are many, and more come.
const MOST_ASKED: usize = 32;

/// All seats, and who has one.
#[derive(Debug)]
pub(super) struct Crowd {
    seats: usize,
    free: Arc<Semaphore>,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    present: HashMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    activity: Activity,
    asked: Arc<Notify>,
    asked_at: Option<Instant>,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
    activity: Activity,
    asked: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Crowd {
    pub(super) fn new(seats: usize) -> Arc<Crowd> {
        Arc::new(Crowd { seats, free: Arc::new(Semaphore::new(seats)), members: Mutex::default() })
    }

    /// A seat for a new connection: a free one, or that of another, who is asked for it. May be given up while it waits.
    pub(super) async fn seat(self: &Arc<Self>) -> Seat {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return self.take(permit);
            }
            let now = Instant::now();
            let of_rank =
                |rank| move |member: &Member| order(member.activity.waiting()?, now).filter(|(idle, _)| *idle == rank);
            let _asked = self.ask(MOST_ASKED, of_rank(false)) || self.ask(1, of_rank(true));
            if let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await {
                return self.take(permit);
            }
        }
    }

    fn take(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Seat {
        let (activity, asked) = (Activity::new(), Arc::new(Notify::new()));
        let member = Member { activity: activity.clone(), asked: Arc::clone(&asked), asked_at: None };
        let mut members = self.members();
        let number = members.next;
        members.next += 1;
        members.present.insert(number, member);
        drop(members);
        Seat { crowd: Arc::clone(self), number, activity, asked, _permit: permit }
    }

    /// Ends the connection that holds most of the bodies that do not come to an end. Whether there was one.
    pub(super) async fn relieve(&self) -> bool {
        let now = Instant::now();
        let is_asked = self.ask(1, |member| {
            let waiting = member.activity.waiting()?;
            let held = Some(member.activity.held()).filter(|held| *held > 0)?;
            (now.saturating_duration_since(waiting.since) >= GRACE).then_some(Reverse(held))
        });
        if is_asked {
            // Until its task has let go of what it holds.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        is_asked
    }

    /// Asks those to leave that come first, at most so many, unless others are about to. Whether any are.
    fn ask<K: Ord>(&self, most: usize, order: impl Fn(&Member) -> Option<K>) -> bool {
        let now = Instant::now();
        let mut members = self.members();
        if members.present.values().any(|member| member.asked_at.is_some_and(|asked| now - asked < PATIENCE)) {
            return true;
        }
        let mut candidates: Vec<(K, &mut Member)> =
            members.present.values_mut().filter_map(|member| Some((order(member)?, member))).collect();
        candidates.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (_, member) in candidates.iter_mut().take(most) {
            member.asked_at = Some(now);
            member.asked.notify_one();
        }
        !candidates.is_empty()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // The map is whole after every statement.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who goes before whom, the least first; nobody who has begun just now.
fn order(waiting: Waiting, now: Instant) -> Option<(bool, Instant)> {
    (now.saturating_duration_since(waiting.since) >= GRACE).then_some((waiting.is_idle, waiting.since))
}

impl Seat {
    pub(super) fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Somebody else needs the seat.
    pub(super) async fn asked_for(&self) {
        self.asked.notified().await;
    }

    /// Whether more than half of the seats are taken.
    pub(super) fn is_in_a_crowd(&self) -> bool {
        self.crowd.free.available_permits() < self.crowd.seats / 2
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.members().present.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unasked_go_first_then_the_longest_idle_and_the_newest_stay() {
        let now = Instant::now() + Duration::from_secs(100);
        let waiting = |is_idle, seconds| Waiting { is_idle, since: now - Duration::from_secs_f64(seconds) };
        let mut all = [
            waiting(false, 0.4),
            waiting(true, 60.0),
            waiting(false, 3.0),
            waiting(true, 80.0),
            waiting(false, 9.0),
            waiting(false, 0.1),
        ];
        all.sort_by_key(|waiting| order(*waiting, now));
        let ages = all.map(|waiting| (now - waiting.since).as_secs_f64());
        assert_eq!(ages, [0.4, 0.1, 9.0, 3.0, 80.0, 60.0]);
        assert_eq!(order(all[0], now).or(order(all[1], now)), None);
    }

    /// Whoever is being answered keeps the seat, and who comes waits until there is one.
    #[tokio::test(start_paused = true)]
    async fn a_seat_is_asked_for_where_nothing_is_up_to_us() {
        let crowd = Crowd::new(2);
        let (busy, silent) = (crowd.seat().await, crowd.seat().await);
        busy.activity().open();
        let call = busy.activity().begin(false);
        tokio::time::advance(Duration::from_secs(2)).await;
        let leaving = async {
            silent.asked_for().await;
            drop(silent);
        };
        let (third, ()) = tokio::join!(crowd.seat(), leaving);
        third.activity().open();
        let waiting = tokio::time::timeout(Duration::from_secs(3), busy.asked_for());
        let fourth = tokio::time::timeout(Duration::from_secs(3), crowd.seat());
        let (asked, fourth) = tokio::join!(waiting, fourth);
        assert!(asked.is_err() && fourth.is_err());
        third.asked_for().await;
        drop(call);
        drop(third);
        crowd.seat().await;
    }
}
