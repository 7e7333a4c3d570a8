//! The `fields` format: one `"Name" : value` line per field.

use std::fmt::Display;

use api::authpb::permission::Type;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, DeleteRangeResponse, Member, PutResponse,
    RangeResponse, ResponseHeader, StatusResponse, TxnResponse,
};
use api::mvccpb::event::EventType;
use api::mvccpb::{Event, KeyValue};

use crate::ctl::quote::quote;

/// Prints one field.
pub(crate) fn field(name: &str, value: impl Display) {
    println!("\"{name}\" : {value}");
}

pub(in crate::ctl) fn header(header: Option<&ResponseHeader>) {
    let Some(header) = header else { return };
    field("ClusterID", header.cluster_id);
    field("MemberID", header.member_id);
    field("Revision", header.revision);
    field("RaftTerm", header.raft_term);
}

fn key_value(prefix: &str, kv: &KeyValue) {
    field(&format!("{prefix}Key"), quote(&kv.key));
    field(&format!("{prefix}CreateRevision"), kv.create_revision);
    field(&format!("{prefix}ModRevision"), kv.mod_revision);
    field(&format!("{prefix}Version"), kv.version);
    field(&format!("{prefix}Value"), quote(&kv.value));
    field(&format!("{prefix}Lease"), kv.lease);
}

pub(in crate::ctl) fn range(response: &RangeResponse) {
    header(response.header.as_ref());
    response.kvs.iter().for_each(|kv| key_value("", kv));
    field("More", response.more);
    field("Count", response.count);
}

pub(in crate::ctl) fn put(response: &PutResponse) {
    header(response.header.as_ref());
    if let Some(previous) = &response.prev_kv {
        key_value("Prev", previous);
    }
}

pub(in crate::ctl) fn delete(response: &DeleteRangeResponse) {
    header(response.header.as_ref());
    field("Deleted", response.deleted);
    response.prev_kvs.iter().for_each(|kv| key_value("Prev", kv));
}

pub(in crate::ctl) fn txn(response: &TxnResponse) {
    header(response.header.as_ref());
    field("Succeeded", response.succeeded);
    for op in &response.responses {
        match &op.response {
            Some(Response::ResponseRange(response)) => range(response),
            Some(Response::ResponsePut(response)) => put(response),
            Some(Response::ResponseDeleteRange(response)) => delete(response),
            Some(Response::ResponseTxn(response)) => txn(response),
            None => {}
        }
    }
}

pub(in crate::ctl) fn event(event: &Event) {
    field("Type", event_type(event));
    if let Some(previous) = &event.prev_kv {
        key_value("Prev", previous);
    }
    if let Some(kv) = &event.kv {
        key_value("", kv);
    }
}

/// `PUT` or `DELETE`.
pub(in crate::ctl) fn event_type(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

pub(in crate::ctl) fn status(endpoint: &str, status: &StatusResponse) {
    header(status.header.as_ref());
    field("Version", quote(status.version.as_bytes()));
    field("DBSize", status.db_size);
    field("Leader", status.leader);
    field("IsLearner", status.is_learner);
    field("RaftIndex", status.raft_index);
    field("RaftTerm", status.raft_term);
    field("RaftAppliedIndex", status.raft_applied_index);
    field("Errors", format_args!("[{}]", status.errors.join(" ")));
    field("Endpoint", quote(endpoint.as_bytes()));
    println!();
}

pub(in crate::ctl) fn member(member: &Member) {
    field("ID", member.id);
    field("Name", quote(member.name.as_bytes()));
    for url in &member.peer_urls {
        field("PeerURL", quote(url.as_bytes()));
    }
    for url in &member.client_urls {
        field("ClientURL", quote(url.as_bytes()));
    }
    field("IsLearner", member.is_learner);
    println!();
}

pub(in crate::ctl) fn role(response: &AuthRoleGetResponse) {
    header(response.header.as_ref());
    for permission in &response.perm {
        let name = match permission.perm_type() {
            Type::Read => "READ",
            Type::Write => "WRITE",
            Type::Readwrite => "READWRITE",
        };
        // Two spaces: so etcdctl prints it.
        field("PermType", format_args!(" {name}"));
        field("Key", quote(&permission.key));
        field("RangeEnd", quote(&permission.range_end));
    }
}

pub(in crate::ctl) fn roles(response: &AuthRoleListResponse) {
    header(response.header.as_ref());
    let roles: String =
        response.roles.iter().map(|role| format!(" {}", quote(role.as_bytes()))).collect();
    println!("\"Roles\" :{roles}");
}
