//! The `json` format: Go's encoding of etcd's messages, with base64 for bytes, enums as numbers
//! and everything that is zero left out.

use api::authpb::Permission;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    DeleteRangeResponse, Member, PutResponse, RangeResponse, ResponseHeader, ResponseOp,
    StatusResponse, TxnResponse,
};
use api::mvccpb::{Event, KeyValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Prints one line of JSON, escaped as Go escapes it.
pub(crate) fn print(value: &Value) {
    let text = value.to_string();
    // Outside of strings these three never occur in JSON.
    println!("{}", text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
}

/// An object of the given members in their order, without those that are zero or empty.
pub(in crate::ctl) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !is_zero(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// An object of the given members, zero or not.
pub(crate) fn full_object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(_) => false,
    }
}

pub(in crate::ctl) fn bytes(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// A header; nothing when the server sent none.
pub(in crate::ctl) fn header(header: Option<&ResponseHeader>) -> Value {
    header.map_or(Value::Null, |header| Value::Object(header_members(header)))
}

/// The members of a header, for the answers in which etcdctl inlines it.
pub(in crate::ctl) fn header_members(header: &ResponseHeader) -> Map<String, Value> {
    let header = object([
        ("cluster_id", header.cluster_id.into()),
        ("member_id", header.member_id.into()),
        ("revision", header.revision.into()),
        ("raft_term", header.raft_term.into()),
    ]);
    match header {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A header's members followed by others, in one object.
pub(in crate::ctl) fn inlined<const N: usize>(
    header: Option<&ResponseHeader>,
    members: [(&str, Value); N],
) -> Value {
    let mut all = header.map(header_members).unwrap_or_default();
    all.extend(members.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(all)
}

pub(in crate::ctl) fn key_value(kv: &KeyValue) -> Value {
    object([
        ("key", bytes(&kv.key)),
        ("create_revision", kv.create_revision.into()),
        ("mod_revision", kv.mod_revision.into()),
        ("version", kv.version.into()),
        ("value", bytes(&kv.value)),
        ("lease", kv.lease.into()),
    ])
}

fn key_values(kvs: &[KeyValue]) -> Value {
    kvs.iter().map(key_value).collect()
}

fn previous(kv: Option<&KeyValue>) -> Value {
    kv.map_or(Value::Null, key_value)
}

pub(in crate::ctl) fn event(event: &Event) -> Value {
    object([
        ("type", event.r#type.into()),
        ("kv", previous(event.kv.as_ref())),
        ("prev_kv", previous(event.prev_kv.as_ref())),
    ])
}

pub(in crate::ctl) fn range(response: &RangeResponse) -> Value {
    object([
        ("header", header(response.header.as_ref())),
        ("kvs", key_values(&response.kvs)),
        ("more", response.more.into()),
        ("count", response.count.into()),
    ])
}

pub(in crate::ctl) fn put(response: &PutResponse) -> Value {
    object([
        ("header", header(response.header.as_ref())),
        ("prev_kv", previous(response.prev_kv.as_ref())),
    ])
}

pub(in crate::ctl) fn delete(response: &DeleteRangeResponse) -> Value {
    object([
        ("header", header(response.header.as_ref())),
        ("deleted", response.deleted.into()),
        ("prev_kvs", key_values(&response.prev_kvs)),
    ])
}

pub(in crate::ctl) fn txn(response: &TxnResponse) -> Value {
    object([
        ("header", header(response.header.as_ref())),
        ("succeeded", response.succeeded.into()),
        ("responses", response.responses.iter().map(response_op).collect()),
    ])
}

fn response_op(op: &ResponseOp) -> Value {
    let (name, value) = match &op.response {
        Some(Response::ResponseRange(response)) => ("ResponseRange", range(response)),
        Some(Response::ResponsePut(response)) => ("ResponsePut", put(response)),
        Some(Response::ResponseDeleteRange(response)) => ("ResponseDeleteRange", delete(response)),
        Some(Response::ResponseTxn(response)) => ("ResponseTxn", txn(response)),
        None => return full_object([("Response", Value::Null)]),
    };
    full_object([("Response", full_object([(name, value)]))])
}

pub(in crate::ctl) fn status(status: &StatusResponse) -> Value {
    object([
        ("header", header(status.header.as_ref())),
        ("version", status.version.clone().into()),
        ("dbSize", status.db_size.into()),
        ("leader", status.leader.into()),
        ("raftIndex", status.raft_index.into()),
        ("raftTerm", status.raft_term.into()),
        ("raftAppliedIndex", status.raft_applied_index.into()),
        ("errors", status.errors.clone().into()),
        ("dbSizeInUse", status.db_size_in_use.into()),
        ("isLearner", status.is_learner.into()),
    ])
}

pub(in crate::ctl) fn member(member: &Member) -> Value {
    object([
        ("ID", member.id.into()),
        ("name", member.name.clone().into()),
        ("peerURLs", member.peer_urls.clone().into()),
        ("clientURLs", member.client_urls.clone().into()),
        ("isLearner", member.is_learner.into()),
    ])
}

pub(in crate::ctl) fn permission(permission: &Permission) -> Value {
    object([
        ("permType", permission.perm_type.into()),
        ("key", bytes(&permission.key)),
        ("range_end", bytes(&permission.range_end)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that zero members are left out and the order is etcd's.
    #[test]
    fn zero_is_left_out() {
        let kv = KeyValue { key: "a".into(), version: 2, ..KeyValue::default() };
        assert_eq!(key_value(&kv).to_string(), r#"{"key":"YQ==","version":2}"#);
    }
}
