//! Runs from arbitrary bytes: each byte is one choice, so that a small change of the bytes is a small
//! change of the run. (proptest's generator reads numbers that it may throw away; without end, when
//! the bytes have come to theirs.)

use api::berthpb::command::Op;
use api::berthpb::{CheckpointLeases, CheckpointedLease, ExpireLeases, ExpiredLease};
use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use bytes::Bytes;

use super::step::Step;

/// What is compared in the end grows with the square of it.
const STEPS_MAX: usize = 40;
/// As deep as transactions are nested in one another.
const DEPTH_MAX: u8 = 2;
/// Larger than the cache that the store gets.
const LARGE_BYTES: usize = 4_000;

/// The run that `data` stands for; it ends with the bytes.
pub(super) fn steps(data: &[u8]) -> Vec<Step> {
    let mut choices = Choices { rest: data };
    let mut steps = Vec::new();
    while !choices.rest.is_empty() && steps.len() < STEPS_MAX {
        steps.push(choices.step());
    }
    steps
}

struct Choices<'a> {
    rest: &'a [u8],
}

impl Choices<'_> {
    /// 0 when there are no more.
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *byte
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.below(count) == 1
    }

    /// Up to three of what `one` makes.
    fn some<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| one(self)).collect()
    }

    fn step(&mut self) -> Step {
        match self.below(32) {
            0..16 => Step::Apply(self.op()),
            16..21 => Step::Range(self.range()),
            21..23 => Step::ReadTxn(self.txn(|choices| Request::RequestRange(choices.range()))),
            23..25 => {
                let (from, to) = (self.revision(), self.revision());
                Step::History { from, to, bytes_max: 1 + 2 * usize::from(self.byte()) }
            }
            25..27 => Step::Flush,
            27..29 => Step::Compact(1 + usize::from(self.below(5))),
            29 => Step::Crash,
            30 => Step::SnapshotRestore,
            _ => Step::HoldSnapshot,
        }
    }

    fn op(&mut self) -> Op {
        match self.below(16) {
            0..5 => Op::Put(self.put()),
            5..7 => Op::DeleteRange(self.delete()),
            7..10 => Op::Txn(self.txn(|choices| choices.request(DEPTH_MAX))),
            10..12 => {
                let (revision, physical) = (self.revision(), self.one_in(2));
                Op::Compact(CompactionRequest { revision, physical })
            }
            12 => Op::LeaseGrant(LeaseGrantRequest { id: self.lease(), ttl: self.small() + 1 }),
            13 => Op::LeaseRevoke(LeaseRevokeRequest { id: self.lease() }),
            14 => {
                let leases = self.some(|choices| ExpiredLease {
                    id: choices.lease(),
                    grant_index: choices.byte().into(),
                });
                Op::ExpireLeases(ExpireLeases { leases })
            }
            _ => {
                let leases = self.some(|choices| CheckpointedLease {
                    id: choices.lease(),
                    grant_index: choices.byte().into(),
                    remaining_s: choices.small(),
                });
                Op::CheckpointLeases(CheckpointLeases { leases })
            }
        }
    }

    fn key(&mut self) -> Bytes {
        let keys = ["a", "b", "c", "aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc"];
        Bytes::from_static(keys[usize::from(self.below(12))].as_bytes())
    }

    fn range_end(&mut self) -> Bytes {
        match self.below(4) {
            0 | 1 => Bytes::new(),
            2 => self.key(),
            _ => Bytes::from_static(if self.one_in(2) { b"d" } else { b"\0" }),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.byte() {
            255 => Bytes::from(vec![b'v'; LARGE_BYTES]),
            length => Bytes::from(vec![b'x' + length % 3; usize::from(length / 3 % 4)]),
        }
    }

    fn lease(&mut self) -> i64 {
        [1, 2, 3, -7][usize::from(self.below(4))]
    }

    fn small(&mut self) -> i64 {
        self.below(100).into()
    }

    /// Mostly of the past or the near future of a short run.
    fn revision(&mut self) -> i64 {
        i64::from(self.below(64)) - 2
    }

    fn put(&mut self) -> PutRequest {
        let (key, value, flags) = (self.key(), self.value(), self.byte());
        let (ignore_value, ignore_lease) = (flags % 8 == 1, flags % 8 == 2);
        PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if !ignore_lease && flags % 8 == 3 { self.lease() } else { 0 },
            prev_kv: flags >= 128,
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = (self.key(), self.range_end());
        DeleteRangeRequest { key, range_end, prev_kv: self.one_in(2) }
    }

    fn range(&mut self) -> RangeRequest {
        let revision = if self.one_in(3) { self.revision() } else { 0 };
        let mut filter = || if self.one_in(6) { i64::from(self.below(30)) } else { 0 };
        let (min_mod_revision, max_mod_revision) = (filter(), filter());
        let (min_create_revision, max_create_revision) = (filter(), filter());
        RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: self.below(4).into(),
            revision,
            sort_order: self.below(3).into(),
            sort_target: self.below(5).into(),
            serializable: false,
            keys_only: self.one_in(5),
            count_only: self.one_in(10),
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        }
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) = (self.key(), self.range_end());
        let result = self.below(4).into();
        let (target, target_union) = match self.below(6) {
            0 => (0, Some(TargetUnion::Version(self.below(4).into()))),
            1 => (1, Some(TargetUnion::CreateRevision(self.revision()))),
            2 => (2, Some(TargetUnion::ModRevision(self.revision()))),
            3 => (3, Some(TargetUnion::Value(self.value()))),
            4 => (4, Some(TargetUnion::Lease(self.lease()))),
            _ => (self.below(5).into(), None),
        };
        Compare { result, target, key, range_end, target_union }
    }

    fn request(&mut self, depth: u8) -> Request {
        match self.below(12) {
            0..3 => Request::RequestRange(self.range()),
            3..7 => Request::RequestPut(self.put()),
            10.. if depth > 0 => {
                Request::RequestTxn(self.txn(|choices| choices.request(depth - 1)))
            }
            _ => Request::RequestDeleteRange(self.delete()),
        }
    }

    fn txn(&mut self, mut request: impl FnMut(&mut Self) -> Request) -> TxnRequest {
        let mut op = |choices: &mut Self| RequestOp { request: Some(request(choices)) };
        let compare = self.some(Self::compare);
        let (success, failure) = (self.some(&mut op), self.some(&mut op));
        TxnRequest { compare, success, failure }
    }
}
