//! Takes out of an answer what servers may choose freely, so that the rest can be compared.
//!
//! Steps are generated with canonical ids: [`OWN_MEMBER`] for the server's member, and numbers
//! from [`CHOSEN_LEASES`] up for leases whose id the server chose. They become real ids on the
//! way to a server, and canonical ones again on the way back.

use std::collections::HashMap;

use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::*;
use api::mvccpb::{Event, KeyValue};

use crate::call::{Call, Reply};

/// The canonical id of a server's only member, and of each member of a cluster.
pub(crate) const OWN_MEMBER: u64 = 1;
/// The first canonical id of leases that a server named; what clients name is below.
pub(crate) const CHOSEN_LEASES: i64 = 1_000_000_000_000;

/// The ids that one server chose.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    cluster: u64,
    /// Of one side's members; one of a single server.
    members: Vec<u64>,
    leader: u64,
    real_of: HashMap<i64, i64>,
    canonical_of: HashMap<i64, i64>,
}

impl Ids {
    pub(crate) fn new(cluster: u64, members: Vec<u64>) -> Self {
        Self { cluster, leader: members[0], members, ..Self::default() }
    }

    pub(crate) fn set_leader(&mut self, leader: u64) {
        self.leader = leader;
    }

    /// Gives the next canonical id to a lease that the server named.
    fn name_lease(&mut self, real: i64) {
        let count = i64::try_from(self.real_of.len()).expect("a run grants few leases");
        self.real_of.insert(CHOSEN_LEASES + count, real);
        self.canonical_of.insert(real, CHOSEN_LEASES + count);
    }

    pub(crate) fn real_lease(&self, canonical: i64) -> i64 {
        *self.real_of.get(&canonical).unwrap_or(&canonical)
    }

    fn real_member(&self, canonical: u64) -> u64 {
        if canonical == OWN_MEMBER { self.members[0] } else { canonical }
    }

    /// Puts this server's ids into a call.
    pub(crate) fn localise(&self, call: &mut Call) {
        match call {
            Call::Put(put) => put.lease = self.real_lease(put.lease),
            Call::Txn(txn) => self.localise_txn(txn),
            Call::LeaseGrant(grant) => grant.id = self.real_lease(grant.id),
            Call::LeaseRevoke(revoke) => revoke.id = self.real_lease(revoke.id),
            Call::LeaseTimeToLive(query) => query.id = self.real_lease(query.id),
            Call::Alarm(alarm) => alarm.member_id = self.real_member(alarm.member_id),
            Call::MoveLeader(mv) if mv.target_id == OWN_MEMBER => mv.target_id = self.leader,
            _ => {}
        }
    }

    fn localise_txn(&self, txn: &mut TxnRequest) {
        for compare in &mut txn.compare {
            if let Some(TargetUnion::Lease(lease)) = &mut compare.target_union {
                *lease = self.real_lease(*lease);
            }
        }
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            match &mut op.request {
                Some(Request::RequestPut(put)) => put.lease = self.real_lease(put.lease),
                Some(Request::RequestTxn(inner)) => self.localise_txn(inner),
                _ => {}
            }
        }
    }

    /// Makes the answer to `call` comparable with the other server's.
    pub(crate) fn canonicalise(&mut self, call: &Call, reply: &mut Reply) {
        self.header(reply.header_mut());
        match (call, reply) {
            (Call::Range(request), Reply::Range(reply)) => self.range(request, reply),
            (Call::Put(_), Reply::Put(reply)) => self.key_values(reply.prev_kv.iter_mut()),
            (Call::DeleteRange(_), Reply::DeleteRange(reply)) => {
                self.key_values(reply.prev_kvs.iter_mut());
            }
            (Call::Txn(request), Reply::Txn(reply)) => self.txn(request, reply),
            (Call::LeaseGrant(request), Reply::LeaseGrant(reply)) => {
                if request.id == 0 && reply.error.is_empty() {
                    self.name_lease(reply.id);
                }
                reply.id = self.lease(reply.id);
            }
            (_, Reply::LeaseTimeToLive(reply)) => {
                reply.id = self.lease(reply.id);
                // etcd lists them in the order of a Go map.
                reply.keys.sort();
            }
            (_, Reply::LeaseLeases(reply)) => {
                for lease in &mut reply.leases {
                    lease.id = self.lease(lease.id);
                }
                // etcd lists them by remaining time, in no order within a second.
                reply.leases.sort_by_key(|lease| lease.id);
            }
            (_, Reply::Alarm(reply)) => {
                for alarm in &mut reply.alarms {
                    alarm.member_id = self.own_member(alarm.member_id);
                }
            }
            (_, Reply::MemberList(reply)) => self.members(&mut reply.members),
            (_, Reply::Status(reply)) => self.status(reply),
            (_, Reply::Authenticate(reply)) => reply.token = shape(&reply.token),
            (_, Reply::Hash(reply)) => reply.hash = 0,
            (_, Reply::HashKv(reply)) => reply.hash = 0,
            _ => {}
        }
    }

    pub(crate) fn keep_alive(&self, reply: &mut LeaseKeepAliveResponse) {
        self.header(&mut reply.header);
        reply.id = self.lease(reply.id);
    }

    pub(crate) fn header(&self, header: &mut Option<ResponseHeader>) {
        if let Some(header) = header {
            header.cluster_id = u64::from(header.cluster_id == self.cluster);
            header.member_id = self.own_member(header.member_id);
            header.raft_term = header.raft_term.min(1);
        }
    }

    pub(crate) fn event(&self, event: &mut Event) {
        self.key_values(event.kv.iter_mut().chain(&mut event.prev_kv));
    }

    fn lease(&self, real: i64) -> i64 {
        *self.canonical_of.get(&real).unwrap_or(&real)
    }

    fn own_member(&self, id: u64) -> u64 {
        if self.members.contains(&id) { OWN_MEMBER } else { id }
    }

    fn key_values<'a>(&self, kvs: impl Iterator<Item = &'a mut KeyValue>) {
        for kv in kvs {
            kv.lease = self.lease(kv.lease);
        }
    }

    fn txn(&self, request: &TxnRequest, reply: &mut TxnResponse) {
        let branch = if reply.succeeded { &request.success } else { &request.failure };
        for (op, answer) in branch.iter().zip(&mut reply.responses) {
            match (&op.request, &mut answer.response) {
                (Some(Request::RequestRange(request)), Some(Response::ResponseRange(reply))) => {
                    self.range(request, reply);
                }
                (_, Some(Response::ResponsePut(reply))) => {
                    self.key_values(reply.prev_kv.iter_mut());
                }
                (_, Some(Response::ResponseDeleteRange(reply))) => {
                    self.key_values(reply.prev_kvs.iter_mut());
                }
                (Some(Request::RequestTxn(request)), Some(Response::ResponseTxn(reply))) => {
                    self.txn(request, reply);
                }
                _ => {}
            }
        }
    }

    fn range(&self, request: &RangeRequest, reply: &mut RangeResponse) {
        self.key_values(reply.kvs.iter_mut());
        order_ties(request, reply);
    }

    /// The members of a cluster look like the one of a single server when they are all there and
    /// differ in nothing but what they are called.
    fn members(&self, members: &mut Vec<Member>) {
        for member in &mut *members {
            if member.name.starts_with('m') {
                member.name = "default".to_owned();
            }
            member.id = self.own_member(member.id);
            for url in member.peer_urls.iter_mut().chain(&mut member.client_urls) {
                *url = shape(url);
            }
        }
        if members.len() == self.members.len() {
            members.dedup();
        }
    }

    fn status(&self, reply: &mut StatusResponse) {
        reply.leader = self.own_member(reply.leader);
        for number in [&mut reply.raft_index, &mut reply.raft_term, &mut reply.raft_applied_index] {
            *number = (*number).min(1);
        }
        reply.db_size = reply.db_size.min(1);
        reply.db_size_in_use = reply.db_size_in_use.min(1);
        for error in &mut reply.errors {
            for member in &self.members {
                *error = error.replace(&member.to_string(), "OWN");
            }
        }
    }
}

/// The most keys that Go 1.19's unstable `sort.Sort` still sorts stably (by insertion).
const STABLE_SORT_KEYS_MAX: i64 = 12;

/// Keys that compare equal under the asked sort come in any order from etcd when there are many:
/// put them into the order of their keys, and forget which of them a limit cut off.
fn order_ties(request: &RangeRequest, reply: &mut RangeResponse) {
    use range_request::SortTarget;
    if reply.count <= STABLE_SORT_KEYS_MAX || request.sort_target() == SortTarget::Key {
        return;
    }
    let rank = |kv: &KeyValue| match request.sort_target() {
        SortTarget::Version => kv.version.to_be_bytes().to_vec(),
        SortTarget::Create => kv.create_revision.to_be_bytes().to_vec(),
        SortTarget::Mod => kv.mod_revision.to_be_bytes().to_vec(),
        SortTarget::Value if request.keys_only => Vec::new(),
        SortTarget::Value => kv.value.to_vec(),
        SortTarget::Key => kv.key.to_vec(),
    };
    let cut_rank = reply.kvs.last().filter(|_| request.limit > 0).map(rank);
    for ties in reply.kvs.chunk_by_mut(|a, b| rank(a) == rank(b)) {
        if cut_rank.as_ref() == Some(&rank(&ties[0])) {
            ties.fill(KeyValue::default());
        }
        ties.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

/// A text with every letter and digit replaced: ports and random tokens keep only their form.
fn shape(text: &str) -> String {
    let text = text.trim_end_matches(|c: char| c.is_ascii_digit());
    text.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { c }).collect()
}
