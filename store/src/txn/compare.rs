//! Compares.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use api::etcdserverpb::Compare;
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::key_range::KeyRange;
use crate::view::View;
use crate::{Entry, Error};

/// Whether all compares hold.
pub(super) fn all_hold(view: &View, compares: &[Compare]) -> Result<bool, Error> {
    for compare in compares {
        if !holds(view, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a compare holds for every key of its range. No key at all is judged like one key with
/// zeros, but has no value that could compare with anything.
fn holds(view: &View, compare: &Compare) -> Result<bool, Error> {
    let by_value = compare.target == CompareTarget::Value as i32;
    let (mut is_empty, mut all_hold) = (true, true);
    view.each(KeyRange::new(&compare.key, &compare.range_end), |entry| {
        is_empty = false;
        let ordering =
            if by_value { order_of_value(view, compare, entry)? } else { order(compare, entry) };
        all_hold = accepts(compare, ordering);
        Ok(if all_hold { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if is_empty {
        return Ok(!by_value && accepts(compare, order(compare, &NOTHING)));
    }
    Ok(all_hold)
}

const NOTHING: Entry = Entry {
    revision: crate::Revision::new(0, 0),
    tombstone: true,
    create_revision: 0,
    version: 0,
    lease: 0,
    value_len: 0,
};

fn order_of_value(view: &View, compare: &Compare, entry: &Entry) -> Result<Ordering, Error> {
    let value = view.value(entry)?;
    Ok(match &compare.target_union {
        Some(TargetUnion::Value(wanted)) => value.cmp(wanted),
        _ => (*value).cmp(&[]),
    })
}

/// A union that does not fit the target counts as 0, an unknown target as equal: so etcd has it.
fn order(compare: &Compare, entry: &Entry) -> Ordering {
    let union = compare.target_union.as_ref();
    let wanted = |pick: fn(&TargetUnion) -> Option<i64>| union.and_then(pick).unwrap_or(0);
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => entry.version.cmp(&wanted(|union| match union {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        })),
        Ok(CompareTarget::Create) => entry.create_revision.cmp(&wanted(|union| match union {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        })),
        Ok(CompareTarget::Mod) => entry.revision.main.cmp(&wanted(|union| match union {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        })),
        Ok(CompareTarget::Lease) => entry.lease.cmp(&wanted(|union| match union {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        })),
        Ok(CompareTarget::Value) | Err(_) => Ordering::Equal,
    }
}

fn accepts(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_) => true,
    }
}
