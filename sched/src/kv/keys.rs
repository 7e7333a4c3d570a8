//! Requests that are written again and again.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp};
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

/// Holds if a key belongs to this lease.
pub fn leased_by(key: impl Into<Bytes>, lease: i64) -> Compare {
    equal(key, CompareTarget::Lease, TargetUnion::Lease(lease))
}

/// Holds if there is no such key.
pub fn is_absent(key: impl Into<Bytes>) -> Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(0))
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
