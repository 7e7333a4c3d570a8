//! A store as simple as it can be: a list of versions, searched from end to end.

use std::collections::BTreeMap;

use crate::{Entry, Error, Event, EventKind, Response, Revision};
use api::berthpb::command::Op;
use api::berthpb::{CheckpointLeases, ExpireLeases};
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response as OpResponse;
use api::etcdserverpb::*;
use api::mvccpb::KeyValue;
use bytes::Bytes;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Ascending by revision; nothing is ever removed.
    versions: Vec<Version>,
    /// `revision` is at least this while a transaction is under way.
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) leases: BTreeMap<i64, Lease>,
    /// Changes of the revision in the making.
    changes: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease {
    pub(super) ttl: i64,
    pub(super) grant_index: u64,
    pub(super) remaining: i64,
}

#[derive(Clone, Debug)]
struct Version {
    kv: KeyValue,
    sub: u32,
    tombstone: bool,
}

type Answer = Result<Response, Error>;

impl Model {
    pub(super) fn new() -> Self {
        Model { revision: 1, compacted: -1, ..Model::default() }
    }

    pub(super) fn apply(&mut self, index: u64, op: &Op) -> Answer {
        let answer = match op {
            Op::Put(request) => {
                self.check_lease(request).and_then(|()| self.check_ignore(request))?;
                Response::Put(self.put(request))
            }
            Op::DeleteRange(request) => Response::DeleteRange(self.delete(request)),
            Op::Txn(request) => Response::Txn(self.txn(request)?),
            Op::Compact(request) => Response::Compact(self.compact(request)?),
            Op::LeaseGrant(request) => Response::LeaseGrant(self.grant(index, request)?),
            Op::LeaseRevoke(request) => {
                if !self.leases.contains_key(&request.id) {
                    return Err(Error::LeaseNotFound);
                }
                self.end_lease(request.id);
                Response::LeaseRevoke(LeaseRevokeResponse { header: self.header() })
            }
            Op::ExpireLeases(request) => self.expire(request),
            Op::CheckpointLeases(request) => self.checkpoint(request),
            other => panic!("not generated: {other:?}"),
        };
        self.end_revision();
        Ok(answer)
    }

    fn end_revision(&mut self) {
        if self.changes > 0 {
            self.revision += 1;
            self.changes = 0;
        }
    }

    fn now(&self) -> i64 {
        if self.changes > 0 { self.revision + 1 } else { self.revision }
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.now(), ..Default::default() })
    }

    fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let of_key =
            |version: &&Version| version.kv.key == key && version.kv.mod_revision <= revision;
        let last = self.versions.iter().rfind(of_key)?;
        (!last.tombstone).then_some(&last.kv)
    }

    fn keys(&self, key: &[u8], end: &[u8]) -> Vec<Bytes> {
        let mut keys: Vec<_> = self.versions.iter().map(|version| version.kv.key.clone()).collect();
        keys.retain(|k| match end {
            [] => *k == key,
            [0] => *k >= key,
            end => *k >= key && *k < end,
        });
        keys.sort();
        keys.dedup();
        keys
    }

    fn in_range(&self, key: &[u8], end: &[u8], revision: i64) -> Vec<KeyValue> {
        self.keys(key, end).iter().filter_map(|key| self.at(key, revision).cloned()).collect()
    }

    fn check_lease(&self, request: &PutRequest) -> Result<(), Error> {
        let is_known = request.lease == 0 || self.leases.contains_key(&request.lease);
        if is_known { Ok(()) } else { Err(Error::LeaseNotFound) }
    }

    fn check_ignore(&self, request: &PutRequest) -> Result<(), Error> {
        let needs_key = request.ignore_value || request.ignore_lease;
        let is_there = self.at(&request.key, i64::MAX).is_some();
        if needs_key && !is_there { Err(Error::KeyNotFound) } else { Ok(()) }
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        let before = self.at(&request.key, i64::MAX).cloned();
        let main = self.revision + 1;
        let mut kv = KeyValue {
            key: request.key.clone(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            value: request.value.clone(),
            lease: request.lease,
        };
        if let Some(before) = &before {
            kv.create_revision = before.create_revision;
            kv.version = before.version + 1;
        }
        // What a put keeps is what there was before the transaction. (When the same transaction
        // has deleted the key by then, etcd crashes.)
        let kept = self.at(&request.key, self.revision);
        if request.ignore_value {
            kv.value = kept.unwrap().value.clone();
        }
        if request.ignore_lease {
            kv.lease = kept.unwrap().lease;
        }
        self.versions.push(Version { kv, sub: self.changes, tombstone: false });
        self.changes += 1;
        PutResponse { header: self.header(), prev_kv: before.filter(|_| request.prev_kv) }
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let found = self.in_range(&request.key, &request.range_end, i64::MAX);
        for kv in &found {
            let kv = KeyValue {
                key: kv.key.clone(),
                mod_revision: self.revision + 1,
                ..KeyValue::default()
            };
            self.versions.push(Version { kv, sub: self.changes, tombstone: true });
            self.changes += 1;
        }
        DeleteRangeResponse {
            header: self.header(),
            deleted: found.len() as i64,
            prev_kvs: if request.prev_kv { found } else { Vec::new() },
        }
    }

    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        if request.revision > self.now() {
            return Err(Error::FutureRevision);
        }
        let at = if request.revision <= 0 { self.now() } else { request.revision };
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        let mut kvs = self.in_range(&request.key, &request.range_end, at);
        let count = kvs.len() as i64;
        let mut more = false;
        if request.count_only {
            kvs.clear();
        } else {
            order(request, &mut kvs);
            more = request.limit > 0 && kvs.len() as i64 > request.limit;
            if more {
                kvs.truncate(request.limit as usize);
            }
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(RangeResponse { header: self.header(), kvs, more, count })
    }

    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let path = self.decide(request);
        self.check(&path)?;
        let mut response = self.execute(&path);
        response.header = self.header();
        Ok(response)
    }

    fn decide<'r>(&self, request: &'r TxnRequest) -> Path<'r> {
        let succeeded = request.compare.iter().all(|compare| self.compare(compare));
        let ops = if succeeded { &request.success } else { &request.failure };
        let ops = ops.iter().map(|op| match op.request.as_ref().unwrap() {
            Request::RequestTxn(nested) => PathOp::Txn(self.decide(nested)),
            other => PathOp::Plain(other),
        });
        Path { succeeded, ops: ops.collect() }
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        for op in &path.ops {
            match op {
                PathOp::Plain(Request::RequestRange(range)) => {
                    if range.revision > self.revision {
                        return Err(Error::FutureRevision);
                    }
                    if range.revision != 0 && range.revision < self.compacted {
                        return Err(Error::Compacted);
                    }
                }
                PathOp::Plain(Request::RequestPut(put)) => {
                    self.check_lease(put)?;
                    self.check_ignore(put)?;
                }
                PathOp::Plain(_) => {}
                PathOp::Txn(nested) => self.check(nested)?,
            }
        }
        Ok(())
    }

    fn execute(&mut self, path: &Path) -> TxnResponse {
        let responses = path.ops.iter().map(|op| match op {
            PathOp::Plain(Request::RequestRange(range)) => {
                OpResponse::ResponseRange(self.range(range).unwrap())
            }
            PathOp::Plain(Request::RequestPut(put)) => OpResponse::ResponsePut(self.put(put)),
            PathOp::Plain(Request::RequestDeleteRange(delete)) => {
                OpResponse::ResponseDeleteRange(self.delete(delete))
            }
            PathOp::Plain(Request::RequestTxn(_)) => unreachable!(),
            PathOp::Txn(nested) => OpResponse::ResponseTxn(self.execute(nested)),
        });
        let responses = responses.map(|response| ResponseOp { response: Some(response) }).collect();
        TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded: path.succeeded,
            responses,
        }
    }

    fn compare(&self, compare: &Compare) -> bool {
        let found = self.in_range(&compare.key, &compare.range_end, i64::MAX);
        if found.is_empty() {
            let by_value = compare.target() == CompareTarget::Value;
            return !by_value && compares(compare, &KeyValue::default());
        }
        found.iter().all(|kv| compares(compare, kv))
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, Error> {
        if request.revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if request.revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compacted = request.revision;
        Ok(CompactionResponse { header: self.header() })
    }

    fn grant(
        &mut self,
        index: u64,
        request: &LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Error> {
        if request.ttl > 9_000_000_000 {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&request.id) {
            return Err(Error::LeaseExists);
        }
        self.leases
            .insert(request.id, Lease { ttl: request.ttl, grant_index: index, remaining: 0 });
        Ok(LeaseGrantResponse {
            header: self.header(),
            id: request.id,
            ttl: request.ttl,
            error: String::new(),
        })
    }

    fn expire(&mut self, request: &ExpireLeases) -> Response {
        for expired in &request.leases {
            let lease = self.leases.get(&expired.id);
            if lease.is_some_and(|lease| lease.grant_index == expired.grant_index) {
                self.end_lease(expired.id);
                self.end_revision();
            }
        }
        Response::ExpireLeases
    }

    fn checkpoint(&mut self, request: &CheckpointLeases) -> Response {
        for checkpointed in &request.leases {
            if let Some(lease) = self.leases.get_mut(&checkpointed.id)
                && lease.grant_index == checkpointed.grant_index
            {
                lease.remaining = checkpointed.remaining_s.min(lease.ttl);
            }
        }
        Response::CheckpointLeases
    }

    fn end_lease(&mut self, id: i64) {
        for key in self.lease_keys(id) {
            self.delete(&DeleteRangeRequest { key, ..Default::default() });
        }
        self.leases.remove(&id);
    }

    pub(super) fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let all = self.in_range(b"\0", b"\0", i64::MAX);
        all.into_iter().filter(|kv| kv.lease == id).map(|kv| kv.key).collect()
    }

    pub(super) fn live_keys(&self) -> usize {
        self.in_range(b"\0", b"\0", i64::MAX).len()
    }

    /// The versions of `key` that etcd's key index keeps, told by generations as etcd tells it.
    fn retained(&self, key: &[u8]) -> Vec<&Version> {
        let all: Vec<_> = self.versions.iter().filter(|version| version.kv.key == key).collect();
        let mut generations: Vec<Vec<&Version>> = vec![Vec::new()];
        for version in all {
            generations.last_mut().unwrap().push(version);
            if version.tombstone {
                generations.push(Vec::new());
            }
        }
        let mut first = 0;
        while first < generations.len() - 1 {
            if generations[first].last().unwrap().kv.mod_revision >= self.compacted {
                break;
            }
            first += 1;
        }
        let generation = &mut generations[first];
        if let Some(last) = generation.iter().rposition(|v| v.kv.mod_revision <= self.compacted) {
            generation.drain(..last);
        }
        generations.into_iter().skip(first).flatten().collect()
    }

    pub(super) fn retained_versions(&self) -> usize {
        self.keys(b"\0", b"\0").iter().map(|key| self.retained(key).len()).sum()
    }

    /// Bytes of all retained versions, by the store's measure.
    pub(super) fn live_bytes(&self) -> u64 {
        let keys = self.keys(b"\0", b"\0");
        let retained = keys.iter().flat_map(|key| self.retained(key));
        retained.map(|v| (v.kv.key.len() + v.kv.value.len() + 64) as u64).sum()
    }

    /// All events from `from` on that a watcher must be able to see.
    pub(super) fn history(&self, from: i64) -> Result<Vec<Event>, Error> {
        if from < self.compacted {
            return Err(Error::Compacted);
        }
        let mut events = Vec::new();
        for version in self.versions.iter().filter(|version| version.kv.mod_revision >= from) {
            let is_kept = |kept: &&Version| {
                (kept.kv.mod_revision, kept.sub) == (version.kv.mod_revision, version.sub)
            };
            if self.retained(&version.kv.key).iter().any(is_kept) {
                events.push(self.event(version));
            }
        }
        Ok(events)
    }

    fn event(&self, version: &Version) -> Event {
        let before = version.kv.mod_revision - 1;
        let mut prev = None;
        if version.kv.version != 1 && before >= self.compacted {
            prev = self.at(&version.kv.key, before).map(|kv| self.entry(kv));
        }
        Event {
            kind: if version.tombstone { EventKind::Delete } else { EventKind::Put },
            kv: version.kv.clone(),
            revision: Revision { main: version.kv.mod_revision, sub: version.sub },
            prev,
        }
    }

    fn entry(&self, kv: &KeyValue) -> Entry {
        let is_it = |version: &&Version| version.kv == *kv;
        let version = self.versions.iter().find(is_it).unwrap();
        Entry {
            revision: Revision { main: kv.mod_revision, sub: version.sub },
            tombstone: false,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            value_len: kv.value.len() as u32,
        }
    }

    /// What a watcher with `prev_kv` must be shown for an event.
    pub(super) fn prev_kv(&self, event: &Event) -> Option<&KeyValue> {
        event.prev.and_then(|entry| self.at(&event.kv.key, entry.revision.main))
    }
}

struct Path<'r> {
    succeeded: bool,
    ops: Vec<PathOp<'r>>,
}

enum PathOp<'r> {
    Plain(&'r Request),
    Txn(Path<'r>),
}

fn order(request: &RangeRequest, kvs: &mut Vec<KeyValue>) {
    let has_filters = request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0;
    if request.sort_order() == SortOrder::None && request.limit > 0 && !has_filters {
        // Etcd fetches one more than the limit, and sorts only those.
        kvs.truncate(request.limit as usize + 1);
    }
    let (min_mod, max_mod) = (request.min_mod_revision, request.max_mod_revision);
    let (min_create, max_create) = (request.min_create_revision, request.max_create_revision);
    kvs.retain(|kv| {
        (max_mod == 0 || kv.mod_revision <= max_mod)
            && (min_mod == 0 || kv.mod_revision >= min_mod)
            && (max_create == 0 || kv.create_revision <= max_create)
            && (min_create == 0 || kv.create_revision >= min_create)
    });
    let descend = request.sort_order() == SortOrder::Descend;
    kvs.sort_by(|a, b| {
        let ordering = match request.sort_target() {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if descend { ordering.reverse() } else { ordering }
    });
}

fn compares(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match (compare.target(), compare.target_union.clone()) {
        (CompareTarget::Version, Some(TargetUnion::Version(n))) => kv.version.cmp(&n),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(n))) => kv.create_revision.cmp(&n),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(n))) => kv.mod_revision.cmp(&n),
        (CompareTarget::Lease, Some(TargetUnion::Lease(n))) => kv.lease.cmp(&n),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => kv.value.cmp(&value),
        (CompareTarget::Value, _) => kv.value.cmp(&Bytes::new()),
        (CompareTarget::Version, _) => kv.version.cmp(&0),
        (CompareTarget::Create, _) => kv.create_revision.cmp(&0),
        (CompareTarget::Mod, _) => kv.mod_revision.cmp(&0),
        (CompareTarget::Lease, _) => kv.lease.cmp(&0),
    };
    match compare.result() {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}
