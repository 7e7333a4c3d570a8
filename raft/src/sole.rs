//! Whether this member is the only one, and its state shows all that was acknowledged.
//!
//! Then nobody else can acknowledge anything, and it does so itself only when its state shows it: a
//! read needs no round of ReadIndex. Learners count: one may have applied, and have answered, what
//! its leader has committed and is about to apply. Every way in which that can end passes through here
//! before it takes effect: another member is an entry that this member appends before it sends it on,
//! another leader is a vote that this member writes down before it gives it, and another state is a
//! snapshot that it installs.
//!
//! The rule: what a round has shown holds as long as nothing has happened since before that round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::{Membership, Vote};

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Sole {
    member_id: u64,
    /// The count of what has happened, times four, and a [`Standing`].
    now: Arc<AtomicU64>,
    /// Where the log has the newest membership that came since the start.
    entry: Arc<AtomicU64>,
}

/// What is known of the newest membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is from before the start.
    Unknown = 0,
    /// There are others, voters or learners, or may be.
    Among = 1,
    /// It names this member alone.
    Named = 2,
    /// And the state shows all that was acknowledged.
    Settled = 3,
}

/// A moment before a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    fn standing(self) -> Standing {
        match self.0 % 4 {
            0 => Standing::Unknown,
            1 => Standing::Among,
            2 => Standing::Named,
            _ => Standing::Settled,
        }
    }

    /// The next one.
    fn then(self, standing: Standing) -> u64 {
        (self.0 / 4 + 1) * 4 + standing as u64
    }
}

impl Sole {
    pub(crate) fn new(member_id: u64) -> Sole {
        Sole { member_id, now: Arc::default(), entry: Arc::default() }
    }

    /// This member's state shows all that was acknowledged by anybody before the call.
    pub(crate) fn is_settled(&self) -> bool {
        self.now().standing() == Standing::Settled
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }

    /// A round that began after `before` has shown, to this member as the leader, that its state has
    /// the log up to `index`, and with it all that was acknowledged before the round. That settles it
    /// once the membership is part of it: before, members that it leaves out may still answer.
    /// `named_before_start`: whether that which it started with names it alone, and lies up to `index`;
    /// asked after the round.
    pub(crate) fn settle(
        &self,
        before: Moment,
        index: u64,
        named_before_start: impl FnOnce() -> bool,
    ) {
        let settles = match before.standing() {
            Standing::Named => self.entry.load(Ordering::SeqCst) <= index,
            Standing::Unknown => named_before_start(),
            Standing::Among | Standing::Settled => false,
        };
        if settles {
            let settled = before.then(Standing::Settled);
            // Where something has happened meanwhile, the next round may find more.
            let _ =
                self.now.compare_exchange(before.0, settled, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Before `membership` becomes entry `index` of the log.
    pub(crate) fn appending(&self, index: u64, membership: &Membership) {
        self.entry.store(index, Ordering::SeqCst);
        let named = self.is_alone_in(membership);
        self.happened(|_| if named { Standing::Named } else { Standing::Among });
    }

    /// There is no other member in it, not even a learner.
    pub(crate) fn is_alone_in(&self, membership: &Membership) -> bool {
        let mut members = membership.nodes().map(|(id, _)| *id);
        members.next() == Some(self.member_id) && members.next().is_none()
    }

    /// Before the log or the state may become another one's.
    pub(crate) fn replacing(&self) {
        self.happened(|_| Standing::Among);
    }

    /// Before `vote` is given.
    pub(crate) fn voting(&self, vote: &Vote) {
        if vote.leader_id.voted_for != self.member_id {
            self.happened(|standing| match standing {
                Standing::Settled => Standing::Named,
                other => other,
            });
        }
    }

    fn happened(&self, standing: impl Fn(Standing) -> Standing) {
        let next = |now| Some(Moment(now).then(standing(Moment(now).standing())));
        let _ = self.now.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::types::{LeaderId, Peer};

    const OWN: u64 = 7;
    const ENTRY: u64 = 5;

    fn membership(voters: &[u64], learners: &[u64]) -> Membership {
        let ids = voters.iter().chain(learners);
        let nodes: BTreeMap<u64, Peer> = ids.map(|id| (*id, Peer::default())).collect();
        let voters = voters.iter().copied().collect::<BTreeSet<_>>();
        Membership::new(vec![voters], nodes).unwrap()
    }

    fn alone() -> Membership {
        membership(&[OWN], &[])
    }

    fn vote(member_id: u64) -> Vote {
        Vote { leader_id: LeaderId::new(9, member_id), committed: false }
    }

    fn settled() -> Sole {
        let sole = Sole::new(OWN);
        sole.appending(ENTRY, &alone());
        sole.settle(sole.now(), ENTRY, || unreachable!("an entry has told"));
        assert!(sole.is_settled());
        sole
    }

    #[test]
    fn nothing_is_settled_before_a_round() {
        // Proves it for the start, for a membership from before it and for one that came since.
        let sole = Sole::new(OWN);
        assert!(!sole.is_settled());
        sole.settle(sole.now(), ENTRY, || false);
        assert!(!sole.is_settled(), "there were others");
        sole.settle(sole.now(), ENTRY, || true);
        assert!(sole.is_settled());
        let sole = Sole::new(OWN);
        sole.appending(ENTRY, &alone());
        assert!(!sole.is_settled());
        sole.settle(sole.now(), ENTRY - 1, || true);
        assert!(!sole.is_settled(), "others may still answer for what is before the entry");
    }

    #[test]
    fn whatever_may_end_it_ends_it() {
        // Proves it for another voter, a learner, another log or state, and a vote for another, each
        // before and during the round; a vote for itself changes nothing.
        let events: [&dyn Fn(&Sole); 5] = [
            &|sole| sole.appending(ENTRY, &membership(&[OWN, 8], &[])),
            &|sole| sole.appending(ENTRY, &membership(&[8], &[])),
            &|sole| sole.appending(ENTRY, &membership(&[OWN], &[8])),
            &|sole| sole.replacing(),
            &|sole| sole.voting(&vote(8)),
        ];
        for (number, event) in events.iter().enumerate() {
            let sole = settled();
            event(&sole);
            assert!(!sole.is_settled(), "event {number}");

            for named_before_start in [true, false] {
                let sole = Sole::new(OWN);
                if !named_before_start {
                    sole.appending(ENTRY, &alone());
                }
                let before = sole.now();
                event(&sole);
                sole.settle(before, ENTRY, || true);
                assert!(!sole.is_settled(), "event {number} during a round");
            }
        }
        let sole = settled();
        sole.voting(&vote(OWN));
        assert!(sole.is_settled());
    }

    #[test]
    fn a_member_among_others_is_settled_by_no_round_until_it_is_alone_again() {
        // Proves it, and that after a vote for another a round is enough.
        let sole = settled();
        sole.appending(ENTRY, &membership(&[OWN, 8], &[]));
        sole.settle(sole.now(), ENTRY, || true);
        assert!(!sole.is_settled());
        sole.appending(ENTRY, &alone());
        sole.settle(sole.now(), ENTRY, || false);
        assert!(sole.is_settled());
        sole.voting(&vote(8));
        sole.settle(sole.now(), ENTRY, || false);
        assert!(sole.is_settled());
    }
}
