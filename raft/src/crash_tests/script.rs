//! What is done to the member, the same for the same seed.

use std::collections::{BTreeMap, BTreeSet};

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest};
use openraft::EntryPayload;

use super::disk::Point;
use super::ledger::Ledger;
use super::member::Member;
use super::sender::Sending;
use crate::types::{Membership, Payload, Peer, Proposal};

/// Keys that are written.
const KEYS: u64 = 6;

/// An operation. One that would do nothing when it is its turn is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Entries are appended, and some applied.
    Append,
    /// What waits for the log is written and synced.
    Write,
    Vote,
    Truncate,
    Snapshot,
    Purge,
    /// A piece of another's snapshot comes in, or the last.
    Receive,
    /// Another's snapshot breaks off.
    Forget,
    /// What was applied is written to the engine.
    Flush,
}

impl Kind {
    pub(super) const ALL: [Kind; 9] = [
        Kind::Append,
        Kind::Write,
        Kind::Vote,
        Kind::Truncate,
        Kind::Snapshot,
        Kind::Purge,
        Kind::Receive,
        Kind::Forget,
        Kind::Flush,
    ];
}

/// What came of a script.
pub(super) struct Run {
    pub(super) points: Vec<Point>,
    pub(super) ledger: Ledger,
    /// How often each was done.
    pub(super) done: BTreeMap<Kind, usize>,
}

pub(super) fn run(seed: u64, operations: usize) -> Run {
    let mut member = Member::new();
    let mut chance = Chance(seed);
    member.append(vec![alone()], 1);
    let mut done = BTreeMap::new();
    for nth in 0..operations {
        member.disk.begin_operation(nth);
        loop {
            let kind = chance.kind();
            if chance.does(&mut member, kind) {
                *done.entry(kind).or_default() += 1;
                break;
            }
        }
    }
    let (points, ledger) = member.end();
    Run { points, ledger, done }
}

/// The first entry of every log.
fn alone() -> Payload {
    let member = BTreeMap::from([(super::recovery::config().member_id, Peer::default())]);
    let voters = member.keys().copied().collect::<BTreeSet<u64>>();
    EntryPayload::Membership(Membership::new(vec![voters], member).unwrap())
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn kind(&mut self) -> Kind {
        match self.below(48) {
            0..=11 => Kind::Append,
            12..=18 => Kind::Write,
            19..=20 => Kind::Vote,
            21..=22 => Kind::Truncate,
            23..=26 => Kind::Snapshot,
            27..=31 => Kind::Purge,
            32..=38 => Kind::Receive,
            39 => Kind::Forget,
            _ => Kind::Flush,
        }
    }

    /// False if there is nothing to do.
    fn does(&mut self, member: &mut Member, kind: Kind) -> bool {
        match kind {
            Kind::Append => {
                let count = 1 + self.below(3);
                let payloads = (0..count).map(|_| self.payload(member)).collect();
                let committed = self.below(member.uncommitted() + count + 1);
                member.append(payloads, committed);
            }
            Kind::Write if member.waiting == 0 => return false,
            Kind::Write => member.write(),
            Kind::Vote => member.stand(),
            Kind::Truncate => match member.uncommitted() {
                0 => return false,
                count => member.truncate(1 + self.below(count)),
            },
            Kind::Snapshot => {
                member.disk.write_before_snapshot_sync(self.place());
                return member.snapshot();
            }
            Kind::Purge => return member.purge(),
            Kind::Receive => {
                member.disk.write_before_snapshot_sync(self.place());
                return member.receive(|member| self.sending(member));
            }
            Kind::Forget => return member.forget(),
            Kind::Flush => return member.flush(),
        }
        true
    }

    /// Of a sync of a snapshot, or of none.
    fn place(&mut self) -> usize {
        usize::try_from(self.below(5)).unwrap_or_default()
    }

    fn sending(&mut self, member: &mut Member) -> Option<Sending> {
        let (kept, own) = (self.below(6), self.below(8));
        let payloads = (0..own).map(|_| self.write()).collect();
        let pieces = usize::try_from(1 + self.below(4)).unwrap_or(1);
        Sending::begin(member, kept, payloads, pieces)
    }

    fn payload(&mut self, member: &Member) -> Payload {
        let revision = member.last().map_or(1, |last| last.state.revision);
        match self.below(12) {
            0 => EntryPayload::Blank,
            1 => {
                let compact = CompactionRequest { revision, ..CompactionRequest::default() };
                command(Op::Compact(compact))
            }
            _ => self.write(),
        }
    }

    fn write(&mut self) -> Payload {
        let key = format!("key {}", self.below(KEYS)).into();
        if self.below(5) == 0 {
            return command(Op::DeleteRange(DeleteRangeRequest {
                key,
                ..DeleteRangeRequest::default()
            }));
        }
        let length = usize::try_from(self.below(300)).unwrap_or_default();
        let value = self.below(1 << 20).to_string().repeat(length / 6 + 1).into();
        command(Op::Put(PutRequest { key, value, ..PutRequest::default() }))
    }
}

fn command(op: Op) -> Payload {
    EntryPayload::Normal(Proposal::new(Command { op: Some(op), ..Command::default() }))
}
