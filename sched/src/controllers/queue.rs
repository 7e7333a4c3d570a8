//! What is to be looked at: each object once, one look at a time, later after a failure, and never
//! on a view that does not have one's own last writes yet.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::id::{Controller, Id, Work};

/// The first pause after a failure; it doubles up to the longest.
const PAUSE_MS: i64 = 20;
const PAUSE_MS_MAX: i64 = 10_000;

/// What the view must have before the same work is done again. This is what keeps a slow view from
/// doubling what was done: others count expectations, here the revision of the write itself is
/// waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) revision: i64,
    /// Objects (with their uid) that are gone.
    pub(crate) gone: Vec<(Id, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    urgent: VecDeque<Work>,
    others: VecDeque<Work>,
    /// What is in one of the two.
    listed: HashSet<Work>,
    /// What is being done; `true`: once more afterwards.
    running: HashMap<Work, bool>,
    blocked: HashMap<Work, Barrier>,
    later: BTreeSet<(Timestamp, Work)>,
    due: HashMap<Work, Timestamp>,
    failures: HashMap<Work, u32>,
}

impl Queue {
    pub(crate) fn add(&mut self, work: Work) {
        if let Some(again) = self.running.get_mut(&work) {
            *again = true;
        } else if self.listed.insert(work.clone()) {
            // Traffic waits for these.
            match work.controller {
                Controller::Endpoints | Controller::Node => self.urgent.push_back(work),
                _ => self.others.push_back(work),
            }
        }
    }

    /// Adds it at that time, unless it was to come earlier.
    pub(crate) fn add_at(&mut self, work: Work, at: Timestamp) {
        match self.due.get(&work) {
            Some(known) if *known <= at => return,
            Some(known) => drop(self.later.remove(&(*known, work.clone()))),
            None => {}
        }
        self.due.insert(work.clone(), at);
        self.later.insert((at, work));
    }

    /// When the next one of those that wait for a time comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The next work to do; it runs until [`Queue::done`] or [`Queue::failed`].
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Work> {
        while let Some((at, _)) = self.later.first()
            && *at <= now
            && let Some((_, work)) = self.later.pop_first()
        {
            self.due.remove(&work);
            self.add(work);
        }
        let is_free = |work: &Work| !self.blocked.contains_key(work);
        let from = [&mut self.urgent, &mut self.others];
        let work = from.into_iter().find_map(|queue| {
            let at = queue.iter().position(is_free)?;
            queue.remove(at)
        })?;
        self.listed.remove(&work);
        self.running.insert(work.clone(), false);
        Some(work)
    }

    /// It is done, and may be done again when the view has come so far.
    pub(crate) fn done(&mut self, work: Work, barrier: Option<Barrier>) {
        self.failures.remove(&work);
        let again = self.running.remove(&work).unwrap_or(false);
        if let Some(barrier) = barrier {
            self.blocked.insert(work.clone(), barrier);
        }
        if again {
            self.add(work);
        }
    }

    /// It failed, at a place that the barrier knows, and is to be tried again after a pause.
    pub(crate) fn failed(&mut self, work: Work, barrier: Barrier, now: Timestamp) {
        self.running.remove(&work);
        let failures = self.failures.entry(work.clone()).or_default();
        let pause_ms = PAUSE_MS.saturating_mul(1 << (*failures).min(20)).min(PAUSE_MS_MAX);
        *failures = failures.saturating_add(1);
        self.blocked.insert(work.clone(), barrier);
        let at = now.checked_add(SignedDuration::from_millis(pause_ms));
        self.add_at(work, at.unwrap_or(now));
    }

    /// The view has changed: lets go what waited for that.
    pub(crate) fn advance(&mut self, is_past: impl Fn(&Barrier) -> bool) {
        self.blocked.retain(|_, barrier| !is_past(barrier));
    }

    pub(crate) fn len(&self) -> usize {
        self.listed.len() + self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::testing::at;
    use super::*;

    fn work(name: &str) -> Work {
        Work::new(Controller::ReplicaSet, Id::new("replicasets", "shop", name))
    }

    #[test]
    fn failures_wait_ever_longer_and_success_forgets_them() {
        // Proves the pauses' growth, their bound, and the new beginning after a success.
        let mut queue = Queue::default();
        let mut now = at(0);
        for round in 0..20 {
            queue.add(work("a"));
            let next = queue.next(now).unwrap();
            queue.failed(next, Barrier::default(), now);
            queue.advance(|_| true);
            let due = queue.next_due().unwrap();
            let pause = due.duration_since(now).as_millis();
            assert_eq!(pause, i128::from((PAUSE_MS << round.min(10)).min(PAUSE_MS_MAX)));
            assert_eq!(queue.next(now), None);
            now = due;
            let next = queue.next(now).unwrap();
            assert_eq!(next, work("a"));
            queue.running.clear();
        }
        queue.add(work("a"));
        let next = queue.next(now).unwrap();
        queue.done(next, None);
        assert!(queue.failures.is_empty());
    }

    #[test]
    fn work_waits_for_its_own_writes() {
        // Proves that nothing is planned on a view without one's own last write, and that other
        // work goes on.
        let mut queue = Queue::default();
        queue.add(work("a"));
        let next = queue.next(at(0)).unwrap();
        queue.done(next, Some(Barrier { revision: 7, gone: Vec::new() }));
        queue.add(work("a"));
        queue.add(work("b"));
        assert_eq!(queue.next(at(0)), Some(work("b")));
        assert_eq!(queue.next(at(0)), None);
        queue.advance(|barrier| barrier.revision <= 6);
        assert_eq!(queue.next(at(0)), None);
        queue.advance(|barrier| barrier.revision <= 7);
        assert_eq!(queue.next(at(0)), Some(work("a")));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_runs_twice(
            steps in prop::collection::vec((0_u8..4, 0_usize..3), 0..200),
        ) {
            // Proves for any order of additions and ends: one look at a time for each object, and
            // one more after each addition.
            let names = ["a", "b", "c"];
            let mut queue = Queue::default();
            let mut running: Vec<Work> = Vec::new();
            let mut owed: HashSet<Work> = HashSet::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        queue.add(work(names[which]));
                        owed.insert(work(names[which]));
                    }
                    2 => if let Some(next) = queue.next(at(0)) {
                        prop_assert!(!running.contains(&next));
                        owed.remove(&next);
                        running.push(next);
                    },
                    _ => if let Some(work) = running.pop() {
                        queue.done(work, None);
                    },
                }
            }
            for work in running.drain(..) {
                queue.done(work, None);
            }
            while let Some(next) = queue.next(at(0)) {
                owed.remove(&next);
                queue.done(next, None);
            }
            prop_assert!(owed.is_empty());
            prop_assert_eq!(queue.len(), 0);
        }
    }
}
