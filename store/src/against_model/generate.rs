//! Runs by the dice of proptest.

use api::berthpb::command::Op;
use api::berthpb::{CheckpointLeases, CheckpointedLease, ExpireLeases, ExpiredLease};
use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::step::Step;

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..120)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => op().prop_map(Step::Apply),
        10 => range().prop_map(Step::Range),
        3 => read_txn().prop_map(Step::ReadTxn),
        4 => (revision(), revision(), 1usize..400)
            .prop_map(|(from, to, bytes_max)| Step::History { from, to, bytes_max }),
        6 => Just(Step::Flush),
        6 => (1usize..6).prop_map(Step::Compact),
        2 => Just(Step::Crash),
        1 => Just(Step::SnapshotRestore),
        1 => Just(Step::HoldSnapshot),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => put().prop_map(Op::Put),
        4 => delete().prop_map(Op::DeleteRange),
        6 => txn(2).prop_map(Op::Txn),
        3 => (revision(), any::<bool>())
            .prop_map(|(revision, physical)| Op::Compact(CompactionRequest { revision, physical })),
        3 => (lease(), 1i64..100).prop_map(|(id, ttl)| Op::LeaseGrant(LeaseGrantRequest { ttl, id })),
        1 => lease().prop_map(|id| Op::LeaseRevoke(LeaseRevokeRequest { id })),
        1 => vec((lease(), 0u64..60), 0..4).prop_map(|leases| {
            let leases = leases.into_iter();
            let leases = leases.map(|(id, grant_index)| ExpiredLease { id, grant_index });
            Op::ExpireLeases(ExpireLeases { leases: leases.collect() })
        }),
        2 => vec((lease(), 0u64..60, 0i64..120), 0..4).prop_map(|leases| {
            let leases = leases.into_iter().map(|(id, grant_index, remaining_s)| {
                CheckpointedLease { id, grant_index, remaining_s }
            });
            Op::CheckpointLeases(CheckpointLeases { leases: leases.collect() })
        }),
    ]
}

fn key() -> impl Strategy<Value = Bytes> {
    "[abc]{1,2}".prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        5 => Just(Bytes::new()),
        4 => "[abcd]{1,2}".prop_map(Bytes::from),
        2 => Just(Bytes::from_static(b"\0")),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => "[xyz]{0,3}".prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![b'v'; 70_000])),
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![1i64..4, Just(-7)]
}

/// Mostly of the past or the near future of a short run.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0i64..60, 1 => -2i64..0]
}

fn put() -> impl Strategy<Value = PutRequest> {
    let lease = prop_oneof![3 => Just(0), 1 => lease()];
    let flags = (any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.15));
    (key(), value(), lease, flags).prop_map(|(key, value, lease, (prev_kv, no_value, no_lease))| {
        PutRequest {
            key,
            value: if no_value { Bytes::new() } else { value },
            lease: if no_lease { 0 } else { lease },
            prev_kv,
            ignore_value: no_value,
            ignore_lease: no_lease,
        }
    })
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let filter = || prop_oneof![6 => Just(0i64), 1 => 0i64..30];
    let shape = (key(), range_end(), 0i64..4, prop_oneof![2 => Just(0), 1 => revision()]);
    let order = (0i32..3, 0i32..5, prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (shape, order, (filter(), filter(), filter(), filter())).prop_map(
        |((key, range_end, limit, revision), (order, target, keys_only, count_only), filters)| {
            RangeRequest {
                key,
                range_end,
                limit,
                revision,
                sort_order: order,
                sort_target: target,
                serializable: false,
                keys_only,
                count_only,
                min_mod_revision: filters.0,
                max_mod_revision: filters.1,
                min_create_revision: filters.2,
                max_create_revision: filters.3,
            }
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let wanted = prop_oneof![
        (0i64..4).prop_map(TargetUnion::Version),
        revision().prop_map(TargetUnion::CreateRevision),
        revision().prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        (0i64..4).prop_map(TargetUnion::Lease),
    ];
    (key(), range_end(), 0i32..4, prop::option::weighted(0.95, wanted), 0i32..5).prop_map(
        |(key, range_end, result, target_union, other)| {
            let target = match &target_union {
                Some(TargetUnion::Version(_)) => 0,
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
                None => other,
            };
            Compare { result, target, key, range_end, target_union }
        },
    )
}

fn request(depth: u32) -> BoxedStrategy<Request> {
    let plain = prop_oneof![
        3 => range().prop_map(Request::RequestRange),
        5 => put().prop_map(Request::RequestPut),
        3 => delete().prop_map(Request::RequestDeleteRange),
    ];
    if depth == 0 {
        return plain.boxed();
    }
    prop_oneof![4 => plain, 1 => txn(depth - 1).prop_map(Request::RequestTxn)].boxed()
}

fn txn(depth: u32) -> impl Strategy<Value = TxnRequest> {
    let ops = || {
        vec(request(depth), 0..4).prop_map(|requests| {
            let requests = requests.into_iter();
            requests.map(|request| RequestOp { request: Some(request) }).collect::<Vec<_>>()
        })
    };
    (vec(compare(), 0..3), ops(), ops()).prop_map(|(compare, success, failure)| TxnRequest {
        compare,
        success,
        failure,
    })
}

fn read_txn() -> impl Strategy<Value = TxnRequest> {
    let ops = || {
        vec(range(), 0..4).prop_map(|ranges| {
            let requests = ranges.into_iter().map(Request::RequestRange);
            requests.map(|request| RequestOp { request: Some(request) }).collect::<Vec<_>>()
        })
    };
    (vec(compare(), 0..3), ops(), ops()).prop_map(|(compare, success, failure)| TxnRequest {
        compare,
        success,
        failure,
    })
}
