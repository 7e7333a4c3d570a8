//! What transcripts show of answers.

use std::fmt::Write;
use std::ops::ControlFlow;

use api::etcdserverpb::response_op::Response as Op;
use api::etcdserverpb::*;
use api::mvccpb::KeyValue;

use crate::engine::Engine;
use crate::{Applied, Error, Event, EventKind, HistoryChunk, Reader, Response};

pub(super) fn applied(applied: &Applied) -> String {
    let mut out = match &applied.result {
        Ok(answer) => response(answer),
        Err(error) => format!("{error:?}\n"),
    };
    for batch in &applied.events {
        for event in &batch.events {
            writeln!(out, "  {}", show_event(event)).unwrap();
        }
    }
    out
}

fn response(answer: &Response) -> String {
    match answer {
        Response::Put(answer) => put(answer, ""),
        Response::DeleteRange(answer) => delete(answer, ""),
        Response::Txn(answer) => txn(answer, ""),
        Response::Compact(answer) => format!("compacted {}\n", at(answer.header.as_ref())),
        Response::LeaseGrant(answer) => {
            format!("lease {} ttl {} {}\n", answer.id, answer.ttl, at(answer.header.as_ref()))
        }
        Response::LeaseRevoke(answer) => format!("revoked {}\n", at(answer.header.as_ref())),
        Response::Alarm(answer) => {
            let name = |alarm: &AlarmMember| format!("{:?} of {}", alarm.alarm(), alarm.member_id);
            let alarms: Vec<_> = answer.alarms.iter().map(name).collect();
            format!("alarms [{}] {}\n", alarms.join(", "), at(answer.header.as_ref()))
        }
        _ => "done\n".to_owned(),
    }
}

fn at(header: Option<&ResponseHeader>) -> String {
    header.map_or_else(|| "without header".to_owned(), |header| format!("@{}", header.revision))
}

fn put(answer: &PutResponse, indent: &str) -> String {
    let mut out = format!("{indent}put {}\n", at(answer.header.as_ref()));
    if let Some(kv) = &answer.prev_kv {
        writeln!(out, "{indent}  was {}", show(kv)).unwrap();
    }
    out
}

fn delete(answer: &DeleteRangeResponse, indent: &str) -> String {
    let mut out = format!("{indent}deleted {} {}\n", answer.deleted, at(answer.header.as_ref()));
    for kv in &answer.prev_kvs {
        writeln!(out, "{indent}  was {}", show(kv)).unwrap();
    }
    out
}

fn txn(answer: &TxnResponse, indent: &str) -> String {
    let branch = if answer.succeeded { "then" } else { "else" };
    let mut out = format!("{indent}{branch} {}\n", at(answer.header.as_ref()));
    let deeper = format!("{indent}  ");
    for op in &answer.responses {
        out.push_str(&match op.response.as_ref().unwrap() {
            Op::ResponseRange(answer) => found(answer, &deeper),
            Op::ResponsePut(answer) => put(answer, &deeper),
            Op::ResponseDeleteRange(answer) => delete(answer, &deeper),
            Op::ResponseTxn(answer) => txn(answer, &deeper),
        });
    }
    out
}

pub(super) fn range(answer: &Result<RangeResponse, Error>) -> String {
    match answer {
        Ok(answer) => found(answer, ""),
        Err(error) => format!("{error:?}\n"),
    }
}

fn found(answer: &RangeResponse, indent: &str) -> String {
    let more = if answer.more { " and more" } else { "" };
    let mut out = format!("{indent}{} keys{more} {}\n", answer.count, at(answer.header.as_ref()));
    for kv in &answer.kvs {
        writeln!(out, "{indent}  {}", show(kv)).unwrap();
    }
    out
}

fn show(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease {}", kv.lease) };
    format!(
        "{}={} create {} mod {} version {}{lease}",
        kv.key.escape_ascii(),
        kv.value.escape_ascii(),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

fn show_event(event: &Event) -> String {
    let revision = event.revision;
    let prev = event.prev.map_or_else(String::new, |prev| format!(" was {}", prev.revision.main));
    let what = match event.kind {
        EventKind::Put => format!("PUT {}", show(&event.kv)),
        EventKind::Delete => format!("DELETE {}", event.kv.key.escape_ascii()),
    };
    format!("{}.{} {what}{prev}", revision.main, revision.sub)
}

pub(super) fn history(reader: &Reader, chunk: &Result<HistoryChunk, Error>) -> String {
    let chunk = match chunk {
        Ok(chunk) => chunk,
        Err(error) => return format!("{error:?}\n"),
    };
    let mut out = format!("next {}\n", chunk.next);
    for event in &chunk.events {
        writeln!(out, "  {}", show_event(event)).unwrap();
        if let Some(prev) = &event.prev {
            let kv = reader.key_value(&event.kv.key, prev).unwrap();
            writeln!(out, "    {}", kv.as_ref().map_or_else(|| "gone".to_owned(), show)).unwrap();
        }
    }
    out
}

pub(super) fn leases(reader: &Reader) -> String {
    let mut out = String::new();
    for lease in reader.leases() {
        let keys = reader.lease_keys(lease.id).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
        let (id, ttl, index) = (lease.id, lease.ttl_s, lease.grant_index);
        let left = match lease.remaining_s {
            0 => String::new(),
            left => format!(" ({left} left)"),
        };
        writeln!(out, "lease {id} ttl {ttl}{left} of entry {index}: [{}]", keys.join(" ")).unwrap();
    }
    out
}

pub(super) fn size(reader: &Reader, engine: &dyn Engine) -> String {
    let size = reader.size();
    let count = |from: &[u8], to: &[u8]| {
        let mut count = 0;
        let mut each = |_: &[u8], _: &[u8]| {
            count += 1;
            ControlFlow::Continue(())
        };
        engine.scan(from, to, &mut each).unwrap();
        count
    };
    let (versions, values) = (count(b"m", b"n"), count(b"v", b"w"));
    let (keys, live) = (size.keys, size.live_bytes);
    format!("{keys} keys, {live} live bytes; in the engine {versions} versions, {values} values\n")
}
