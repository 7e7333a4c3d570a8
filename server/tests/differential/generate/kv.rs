//! Puts, ranges, deletes, transactions, compactions and watches.

use api::etcdserverpb::compare::TargetUnion;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;

use super::{Dice, World, lease};

type Key = &'static [u8];

/// Few enough to collide all the time; nested prefixes, both ends of the order, no UTF-8.
const KEYS: &[Key] = &[
    b"\0",
    b"a",
    b"a\0",
    b"a/1",
    b"a/2",
    b"a/2/x",
    b"a/3",
    b"b",
    b"b/1",
    b"b/2",
    b"c",
    b"c/1",
    b"k",
    b"k1",
    b"k2",
    b"z",
    b"\xff",
    b"\xff\xff",
];

const VALUES: &[Key] = &[b"", b"1", b"2", b"10", b"one", b"\0\xff", &[b'x'; 700]];

/// How many nested levels a transaction may have: enough for one inside one inside one.
const TXN_DEPTH_MAX: u32 = 2;
/// More than etcd's default `--max-txn-ops` of 128.
const TOO_MANY_OPS: usize = 129;

pub(super) fn key(dice: &mut Dice) -> Key {
    if dice.one_in(150) { b"" } else { dice.pick(KEYS) }
}

/// A `key` and `range_end`: one key, a prefix, from a key on, everything, or any two keys, be
/// they in order or not.
pub(super) fn span(dice: &mut Dice) -> (Key, Vec<u8>) {
    let key = key(dice);
    match dice.below(100) {
        0..45 => (key, Vec::new()),
        45..65 => (key, prefix_end(key)),
        65..75 => (key, vec![0]),
        75..85 => (b"\0", vec![0]),
        _ => (key, dice.pick(KEYS).to_vec()),
    }
}

/// The first key after all that begin with `prefix`, as etcd's clients compute it.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A revision to read at: mostly now, else past, compacted, future or nonsense.
pub(super) fn revision(dice: &mut Dice, world: &World) -> i64 {
    match dice.below(100) {
        0..60 => 0,
        60..90 => dice.between(world.compacted.max(1), world.revision.max(1)),
        90..94 => dice.between(0, world.compacted),
        94..98 => world.revision + dice.between(0, 3),
        _ => -1,
    }
}

/// A bound for the revision filters: mostly none.
fn bound(dice: &mut Dice, world: &World) -> i64 {
    if dice.one_in(10) { dice.between(1, world.revision + 1) } else { 0 }
}

pub(super) fn range(dice: &mut Dice, world: &World) -> RangeRequest {
    let (key, range_end) = span(dice);
    let sorted = dice.one_in(3);
    RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: if dice.one_in(3) { dice.between(-1, 6) } else { 0 },
        revision: revision(dice, world),
        sort_order: if sorted { dice.pick(&[0, 1, 2]) } else { 0 },
        sort_target: if sorted { dice.pick(&[0, 1, 2, 3, 4]) } else { 0 },
        serializable: dice.one_in(4),
        keys_only: dice.one_in(6),
        count_only: dice.one_in(8),
        min_mod_revision: bound(dice, world),
        max_mod_revision: bound(dice, world),
        min_create_revision: bound(dice, world),
        max_create_revision: bound(dice, world),
    }
}

pub(super) fn put(dice: &mut Dice, world: &World) -> PutRequest {
    let ignore_value = dice.one_in(12);
    let ignore_lease = dice.one_in(12);
    // A value or lease beside its `ignore` is an error; it should be rare.
    let no_value = ignore_value && !dice.one_in(5);
    let no_lease = ignore_lease && !dice.one_in(5);
    PutRequest {
        key: key(dice).into(),
        value: if no_value { b"" } else { dice.pick(VALUES) }.into(),
        lease: if no_lease || !dice.one_in(4) { 0 } else { lease::any(dice, world) },
        prev_kv: dice.one_in(3),
        ignore_value,
        ignore_lease,
    }
}

pub(super) fn delete_range(dice: &mut Dice) -> DeleteRangeRequest {
    let (key, range_end) = if dice.one_in(2) { span(dice) } else { (key(dice), Vec::new()) };
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: dice.one_in(2) }
}

pub(super) fn txn(dice: &mut Dice, world: &World) -> TxnRequest {
    if dice.one_in(120) {
        return too_large_txn(dice, world);
    }
    let mut request = txn_of_depth(dice, world, 0);
    if has_delete(&request) {
        require_nothing_of_puts(&mut request);
    }
    request
}

/// A put that needs its key, after a delete "from this key on", makes etcd 3.4 crash
/// ("unexpected error during txn"): it checks all such puts beforehand, and its check for
/// duplicate keys does not see such a delete.
fn require_nothing_of_puts(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestPut(put)) => {
                put.ignore_value = false;
                put.ignore_lease = false;
            }
            Some(Request::RequestTxn(inner)) => require_nothing_of_puts(inner),
            _ => {}
        }
    }
}

/// Leaves nested transactions out.
pub(super) fn flatten(txn: &mut TxnRequest) {
    for branch in [&mut txn.success, &mut txn.failure] {
        branch.retain(|op| !matches!(op.request, Some(Request::RequestTxn(_))));
    }
}

/// Takes from a flat transaction's puts what needs more than the permission to write.
pub(super) fn ask_little_of_puts(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        if let Some(Request::RequestPut(put)) = &mut op.request {
            put.lease = 0;
            put.prev_kv = false;
        }
    }
}

/// Takes the ranges out of a transaction.
pub(crate) fn without_ranges(txn: &mut TxnRequest) {
    for branch in [&mut txn.success, &mut txn.failure] {
        branch.retain(|op| !matches!(op.request, Some(Request::RequestRange(_))));
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        if let Some(Request::RequestTxn(inner)) = &mut op.request {
            without_ranges(inner);
        }
    }
}

fn has_delete(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestDeleteRange(_)) => true,
        Some(Request::RequestTxn(inner)) => has_delete(inner),
        _ => false,
    })
}

fn txn_of_depth(dice: &mut Dice, world: &World, depth: u32) -> TxnRequest {
    let branch = |dice: &mut Dice| (0..dice.below(4)).map(|_| op(dice, world, depth)).collect();
    TxnRequest {
        compare: (0..dice.below(3)).map(|_| compare(dice, world)).collect(),
        success: branch(dice),
        failure: branch(dice),
    }
}

fn op(dice: &mut Dice, world: &World, depth: u32) -> RequestOp {
    let request = match dice.below(100) {
        0..40 => Request::RequestPut(put(dice, world)),
        40..65 => Request::RequestRange(range(dice, world)),
        65..85 => Request::RequestDeleteRange(delete_range(dice)),
        _ if depth < TXN_DEPTH_MAX => Request::RequestTxn(txn_of_depth(dice, world, depth + 1)),
        _ => Request::RequestPut(put(dice, world)),
    };
    RequestOp { request: Some(request) }
}

fn compare(dice: &mut Dice, world: &World) -> Compare {
    let (key, range_end) = span(dice);
    let (target, operand) = match dice.below(5) {
        0 => (0, TargetUnion::Version(dice.between(0, 4))),
        1 => (1, TargetUnion::CreateRevision(compared_revision(dice, world))),
        2 => (2, TargetUnion::ModRevision(compared_revision(dice, world))),
        3 => (3, TargetUnion::Value(dice.pick(VALUES).into())),
        _ => return lease_compare(dice, world, key, range_end),
    };
    Compare {
        result: dice.pick(&[0, 1, 2, 3]),
        target,
        key: key.into(),
        range_end: if dice.one_in(3) { range_end.into() } else { Vec::new().into() },
        target_union: if dice.one_in(40) { None } else { Some(operand) },
    }
}

fn compared_revision(dice: &mut Dice, world: &World) -> i64 {
    if dice.one_in(3) { 0 } else { dice.between(0, world.revision + 1) }
}

/// Leases that servers named have no common order: only equality of them can be compared.
fn lease_compare(dice: &mut Dice, world: &World, key: Key, range_end: Vec<u8>) -> Compare {
    let (result, lease) = if dice.one_in(2) {
        (dice.pick(&[0, 3]), lease::any(dice, world))
    } else {
        (dice.pick(&[0, 1, 2, 3]), dice.between(0, 5))
    };
    Compare {
        result,
        target: 4,
        key: key.into(),
        range_end: range_end.into(),
        target_union: Some(TargetUnion::Lease(lease)),
    }
}

/// A transaction one part of which has more operations than a server takes.
fn too_large_txn(dice: &mut Dice, world: &World) -> TxnRequest {
    let mut request = txn_of_depth(dice, world, TXN_DEPTH_MAX);
    let ranges = || {
        let range = RangeRequest { key: "a".into(), ..Default::default() };
        let op = RequestOp { request: Some(Request::RequestRange(range)) };
        std::iter::repeat_n(op, TOO_MANY_OPS).collect::<Vec<_>>()
    };
    match dice.below(4) {
        0 => request.success = ranges(),
        1 => request.failure = ranges(),
        2 => {
            // The nested one gets what the outer one left: 128 of them are one too many.
            let inner = TxnRequest { success: ranges()[1..].to_vec(), ..Default::default() };
            request.success = vec![RequestOp { request: Some(Request::RequestTxn(inner)) }];
        }
        _ => request.compare = (0..TOO_MANY_OPS).map(|_| compare(dice, world)).collect(),
    }
    request
}

/// Mostly a revision that can be compacted; else one that is gone or not there yet.
pub(super) fn compact(dice: &mut Dice, world: &World) -> CompactionRequest {
    let revision = match dice.below(10) {
        0..6 => dice.between(world.compacted + 1, (world.revision + 1).max(world.compacted + 1)),
        6 => world.revision,
        7 => dice.between(0, world.compacted),
        8 => world.revision + dice.between(1, 10),
        _ => world.compacted,
    };
    CompactionRequest { revision, physical: dice.one_in(2) }
}

/// Never at the compacted revision itself: etcd 3.4 loses deletes there (its issues 18089 and
/// 19179), so what a watcher from there sees is no reference.
pub(super) fn watch(dice: &mut Dice, world: &World) -> WatchCreateRequest {
    let (key, range_end) = span(dice);
    let start_revision = match dice.below(10) {
        0..4 => 0,
        4..8 => dice.between(world.compacted + 1, world.revision.max(world.compacted) + 1),
        8 if world.compacted > 1 => dice.between(1, world.compacted - 1),
        _ => world.revision + dice.between(1, 30),
    };
    WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision,
        progress_notify: dice.one_in(3),
        filters: dice.pick(&[&[][..], &[], &[], &[0], &[1], &[0, 1]]).to_vec(),
        prev_kv: dice.one_in(2),
        watch_id: if dice.one_in(5) { dice.between(1, 40) } else { 0 },
        fragment: dice.one_in(4),
    }
}
