//! The `simple` format: what a person at a terminal wants to read.

use std::io::Write;

use api::authpb::Permission;
use api::authpb::permission::Type;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    AuthRoleGetResponse, DeleteRangeResponse, Member, PutResponse, RangeResponse, StatusResponse,
    TxnResponse,
};
use api::mvccpb::{Event, KeyValue};

use super::fields::event_type;
use crate::ctl::range::{FROM_KEY, prefix_end};

/// A key and its value, a line each.
pub(in crate::ctl) fn key_value(hex: bool, kv: &KeyValue) {
    line(hex, &kv.key);
    line(hex, &kv.value);
}

/// Bytes as they are, or as `\x..` each; then a line end.
pub(in crate::ctl) fn line(hex: bool, bytes: &[u8]) {
    let mut text = if hex {
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes()
    } else {
        bytes.to_vec()
    };
    text.push(b'\n');
    // As with println!, there is nobody to tell when standard output is gone.
    if std::io::stdout().write_all(&text).is_err() {
        std::process::exit(0);
    }
}

pub(in crate::ctl) fn range(hex: bool, response: &RangeResponse) {
    response.kvs.iter().for_each(|kv| key_value(hex, kv));
}

pub(in crate::ctl) fn put(hex: bool, response: &PutResponse) {
    println!("OK");
    if let Some(previous) = &response.prev_kv {
        key_value(hex, previous);
    }
}

pub(in crate::ctl) fn delete(hex: bool, response: &DeleteRangeResponse) {
    println!("{}", response.deleted);
    response.prev_kvs.iter().for_each(|kv| key_value(hex, kv));
}

pub(in crate::ctl) fn txn(hex: bool, response: &TxnResponse) {
    println!("{}", if response.succeeded { "SUCCESS" } else { "FAILURE" });
    for op in &response.responses {
        println!();
        match &op.response {
            Some(Response::ResponseRange(response)) => range(hex, response),
            Some(Response::ResponsePut(response)) => put(hex, response),
            Some(Response::ResponseDeleteRange(response)) => delete(hex, response),
            Some(Response::ResponseTxn(response)) => txn(hex, response),
            None => {}
        }
    }
}

pub(in crate::ctl) fn event(hex: bool, event: &Event) {
    println!("{}", event_type(event));
    if let Some(previous) = &event.prev_kv {
        key_value(hex, previous);
    }
    if let Some(kv) = &event.kv {
        key_value(hex, kv);
    }
}

/// The columns of an endpoint's status, as the table has them.
pub(in crate::ctl) fn status_columns(endpoint: &str, status: &StatusResponse) -> Vec<String> {
    let member_id = status.header.as_ref().map_or(0, |header| header.member_id);
    vec![
        endpoint.to_owned(),
        format!("{member_id:x}"),
        status.version.clone(),
        size(status.db_size),
        (status.leader == member_id).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
    ]
}

/// The columns of a member.
pub(in crate::ctl) fn member_columns(member: &Member) -> Vec<String> {
    let status = if member.name.is_empty() { "unstarted" } else { "started" };
    vec![
        format!("{:x}", member.id),
        status.to_owned(),
        member.name.clone(),
        member.peer_urls.join(","),
        member.client_urls.join(","),
        member.is_learner.to_string(),
    ]
}

/// A number of bytes as people read it: `20 kB`, `1.5 MB`.
pub(crate) fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut rest = bytes;
    while rest >= 1_000_000 && unit + 1 < UNITS.len() {
        rest /= 1000;
        unit += 1;
    }
    // Tenths, rounded to the nearest, of the unit that leaves one to three digits.
    let tenths = (rest * 10 + 500) / 1000;
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", (rest + 500) / 1000, UNITS[unit])
    }
}

pub(in crate::ctl) fn role(name: &str, response: &AuthRoleGetResponse) {
    println!("Role {name}");
    println!("KV Read:");
    response.perm.iter().filter(|p| p.perm_type() != Type::Write).for_each(permission);
    println!("KV Write:");
    response.perm.iter().filter(|p| p.perm_type() != Type::Read).for_each(permission);
}

fn permission(permission: &Permission) {
    println!("\t{}", granted_range(permission));
}

fn granted_range(permission: &Permission) -> String {
    let (key, range_end) = (&permission.key, &permission.range_end);
    let mut text = key_range(key, range_end);
    if !range_end.is_empty() && !key.is_empty() && prefix_end(key) == range_end {
        text.push_str(&format!(" (prefix {})", key.escape_ascii()));
    }
    text
}

/// `key`, `[key, end)` or `[key, <open ended>`.
pub(in crate::ctl) fn key_range(key: &[u8], range_end: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    if range_end.is_empty() {
        key.into_owned()
    } else if range_end == FROM_KEY {
        format!("[{key}, <open ended>")
    } else {
        format!("[{key}, {})", String::from_utf8_lossy(range_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves sizes as etcdctl writes them (its numbers on the left).
    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (1_536_000, "1.5 MB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
