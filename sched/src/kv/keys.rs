//! Requests that are written again and again.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp};
use bytes::Bytes;

/// The end of the range of all keys with a prefix, as etcd's clients make it. The empty prefix
/// means all keys.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}

/// A range request over a prefix.
pub fn range(prefix: &[u8]) -> RangeRequest {
    // The empty key is not one; the range of all keys begins at the smallest.
    let key = if prefix.is_empty() { Bytes::from_static(&[0]) } else { prefix.to_vec().into() };
    RangeRequest { key, range_end: prefix_end(prefix), ..RangeRequest::default() }
}

/// An operation of a transaction that writes a key under a lease (0: none).
pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: i64) -> RequestOp {
    let put = PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// An operation of a transaction that writes a key that exists, under the lease it has.
pub fn put_keeping_lease(key: impl Into<Bytes>, value: impl Into<Bytes>) -> RequestOp {
    let (key, value) = (key.into(), value.into());
    let put = PutRequest { key, value, ignore_lease: true, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// Holds if a key belongs to this lease.
pub fn leased_by(key: impl Into<Bytes>, lease: i64) -> Compare {
    equal(key, CompareTarget::Lease, TargetUnion::Lease(lease))
}

/// Holds if there is no such key.
pub fn is_absent(key: impl Into<Bytes>) -> Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(0))
}

/// Holds if a key was last written at this revision.
pub fn unchanged_since(key: impl Into<Bytes>, mod_revision: i64) -> Compare {
    equal(key, CompareTarget::Mod, TargetUnion::ModRevision(mod_revision))
}

/// Holds if a key is still the one that was created at this revision.
pub fn created_at(key: impl Into<Bytes>, create_revision: i64) -> Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(create_revision))
}

/// An operation of a transaction that deletes a key.
pub fn delete(key: impl Into<Bytes>) -> RequestOp {
    let delete = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
    RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

/// An operation of a transaction that reads a key.
pub fn get(key: impl Into<Bytes>) -> RequestOp {
    let get = RangeRequest { key: key.into(), ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(get)) }
}

fn equal(key: impl Into<Bytes>, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Compare::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_their_successor() {
        // Proves etcd's rule, with the bytes that have no successor too.
        assert_eq!(prefix_end(b"a/"), Bytes::from_static(b"a0"));
        assert_eq!(prefix_end(&[b'a', 0xff]), Bytes::from_static(b"b"));
        assert_eq!(prefix_end(&[0xff]), Bytes::from_static(&[0]));
        assert_eq!(prefix_end(b""), Bytes::from_static(&[0]));
        assert_eq!(range(b"").key, Bytes::from_static(&[0]));
    }
}
