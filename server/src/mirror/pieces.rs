//! The operations of one revision of the source, in transactions that the destination takes.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp};
use api::mvccpb::Event;
use api::mvccpb::event::EventType;
use bytes::Bytes;
use prost::Message;

use super::mapping::Mapping;

/// Encoded operations of one transaction: below etcd's limit for a request (1.5 MiB), with room for
/// the checkpoint.
pub(super) const PIECE_BYTES_MAX: usize = 1_500_000;

pub(super) fn put(key: Bytes, value: Bytes) -> RequestOp {
    op(Request::RequestPut(PutRequest { key, value, ..PutRequest::default() }))
}

pub(super) fn delete(key: Bytes) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() }))
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// What the events of one revision do, at the destination; `not` is a key to leave alone.
///
/// A key occurs once in a revision, so their order is free. Puts come first: where a revision does
/// not fit into one transaction, a reader in between sees what is new beside what is old, and never
/// misses both.
pub(super) fn operations(events: &[Event], mapping: &Mapping, not: &Bytes) -> Vec<RequestOp> {
    let of_type = |wanted: EventType| {
        let events = events.iter().filter(move |event| event.r#type() == wanted);
        let mapped = events.filter_map(|event| {
            let kv = event.kv.as_ref()?;
            Some((mapping.map(&kv.key), kv.value.clone()))
        });
        mapped.filter(|(key, _)| key != not)
    };
    let puts = of_type(EventType::Put).map(|(key, value)| put(key, value));
    puts.chain(of_type(EventType::Delete).map(|(key, _)| delete(key))).collect()
}

/// Takes from the front what fits into one transaction: at least one operation, if there is one.
pub(super) fn next(operations: &mut Vec<RequestOp>, ops_max: usize) -> Vec<RequestOp> {
    let mut bytes = 0;
    let fits = operations.iter().take(ops_max).take_while(|op| {
        let is_first = bytes == 0;
        bytes += op.encoded_len();
        is_first || bytes <= PIECE_BYTES_MAX
    });
    let count = fits.count();
    let rest = operations.split_off(count);
    std::mem::replace(operations, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::mvccpb::KeyValue;

    fn event(kind: EventType, key: &'static str) -> Event {
        let kv = KeyValue { key: key.into(), value: "v".into(), ..KeyValue::default() };
        Event { r#type: kind.into(), kv: Some(kv), prev_kv: None }
    }

    #[test]
    fn puts_come_before_deletes_and_the_checkpoint_is_left_alone() {
        // Proves the order that a split revision relies on.
        let events = [
            event(EventType::Delete, "p/a"),
            event(EventType::Put, "p/b"),
            event(EventType::Put, "p/checkpoint"),
            event(EventType::Put, "p/c"),
        ];
        let mapping = Mapping::new(b"p/", b"q/");
        let operations = operations(&events, &mapping, &Bytes::from_static(b"q/checkpoint"));
        let value = Bytes::from_static(b"v");
        let expected =
            [put("q/b".into(), value.clone()), put("q/c".into(), value), delete("q/a".into())];
        assert_eq!(operations, expected);
    }

    #[test]
    fn pieces_keep_to_both_limits_and_lose_nothing() {
        // Proves that each piece has at most so many operations and bytes, that one operation too
        // large for itself still goes, and that together they are all.
        let sizes = [10, 10, 10, 900_000, 700_000, PIECE_BYTES_MAX, 10];
        let mut rest: Vec<RequestOp> =
            sizes.iter().map(|size| put("k".into(), vec![0; *size].into())).collect();
        let all = rest.clone();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(next(&mut rest, 2));
        }
        let counts: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 2, 1, 1, 1]);
        assert_eq!(pieces.concat(), all);
    }
}
