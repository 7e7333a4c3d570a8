//! Transactions: first decided and checked as a whole, then carried out, when nothing can fail.
//!
//! As in etcd, all compares, of nested transactions too, see the state before the transaction;
//! operations see what earlier ones did.

mod compare;
mod plan;

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, RangeRequest, TxnRequest};

pub(crate) use self::plan::{Plan, Planned, PutPlan};

use crate::Error;
use crate::key_range::KeyRange;
use crate::outcome::{Outcome, TxnOutcome};
use crate::select::Selector;
use crate::state::revision_of;
use crate::view::View;
use crate::write::Write;

/// Whether a transaction can be answered without the log, as etcd decides it: it has nothing but
/// ranges.
pub fn txn_is_read_only(request: &TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Carries out a checked plan.
pub(crate) fn execute(write: &mut Write, plan: Plan) -> TxnOutcome {
    let outcomes = plan.ops.into_iter().map(|op| match op {
        Planned::Range(request) => execute_range(write, request),
        Planned::Put(put) => execute_put(write, &put),
        Planned::DeleteRange(request) => execute_delete(write, request),
        Planned::Txn(nested) => Outcome::Txn(execute(write, nested)),
    });
    TxnOutcome { succeeded: plan.succeeded, outcomes: outcomes.collect(), revision: 0 }
}

fn execute_range(write: &mut Write, request: &RangeRequest) -> Outcome {
    write.calls.ranges += 1;
    let now = write.revision();
    let state = write.state();
    let at = revision_of(request.revision, now, state.compact_revision)
        .expect("the plan has checked the revision");
    let range = KeyRange::new(&request.key, &request.range_end);
    let mut selector = Selector::new(request, at, state.count(&range, at, now));
    while selector.walk(&state.index, usize::MAX) {}
    Outcome::Range { found: selector.finish(), keys_only: request.keys_only, revision: now }
}

pub(crate) fn execute_put(write: &mut Write, put: &PutPlan) -> Outcome {
    let before = write.put(&put.request.key, &put.value, put.lease);
    let prev = before.filter(|_| put.request.prev_kv);
    Outcome::Put {
        revision: write.revision(),
        prev: prev.map(|entry| (put.request.key.clone(), entry)),
    }
}

pub(crate) fn execute_delete(write: &mut Write, request: &DeleteRangeRequest) -> Outcome {
    let found = write.delete(&KeyRange::new(&request.key, &request.range_end));
    Outcome::DeleteRange {
        revision: write.revision(),
        deleted: found.len(),
        prev: if request.prev_kv { found } else { Vec::new() },
    }
}

/// Answers a plan that has nothing to write.
pub(crate) fn read(view: &View, plan: Plan) -> Result<TxnOutcome, Error> {
    let mut outcomes = Vec::with_capacity(plan.ops.len());
    for op in plan.ops {
        outcomes.push(match op {
            Planned::Range(request) => Outcome::Range {
                found: view.find(request)?,
                keys_only: request.keys_only,
                revision: view.revision,
            },
            Planned::Txn(nested) => Outcome::Txn(read(view, nested)?),
            Planned::Put(_) | Planned::DeleteRange(_) => {
                unreachable!("the caller has made sure that nothing is written")
            }
        });
    }
    Ok(TxnOutcome { succeeded: plan.succeeded, outcomes, revision: 0 })
}
