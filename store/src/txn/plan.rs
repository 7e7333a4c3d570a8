//! What a transaction will do, decided and checked before anything is done.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use bytes::Bytes;

use super::compare;
use crate::Error;
use crate::view::View;

/// The branch that was chosen, with nested transactions decided too.
pub(crate) struct Plan<'r> {
    pub(crate) succeeded: bool,
    pub(crate) ops: Vec<Planned<'r>>,
}

pub(crate) enum Planned<'r> {
    Range(&'r RangeRequest),
    Put(PutPlan<'r>),
    DeleteRange(&'r DeleteRangeRequest),
    Txn(Plan<'r>),
}

/// A put with what it ignores filled in.
pub(crate) struct PutPlan<'r> {
    pub(crate) request: &'r PutRequest,
    pub(crate) value: Bytes,
    pub(crate) lease: i64,
}

impl<'r> Plan<'r> {
    /// Decides and checks. An error says that nothing may be done.
    pub(crate) fn new(view: &View, request: &'r TxnRequest) -> Result<Plan<'r>, Error> {
        Decided::new(view, request)?.check(view)
    }

    /// Whether carrying it out is only reading.
    pub(crate) fn is_read_only(&self) -> bool {
        self.ops.iter().all(|op| match op {
            Planned::Range(_) => true,
            Planned::Put(_) | Planned::DeleteRange(_) => false,
            Planned::Txn(nested) => nested.is_read_only(),
        })
    }
}

/// All compares are judged before the first operation is checked.
struct Decided<'r> {
    succeeded: bool,
    ops: &'r [RequestOp],
    /// Of the nested transactions in `ops`, in order.
    nested: Vec<Decided<'r>>,
}

impl<'r> Decided<'r> {
    fn new(view: &View, request: &'r TxnRequest) -> Result<Decided<'r>, Error> {
        let succeeded = compare::all_hold(view, &request.compare)?;
        let ops = if succeeded { &request.success } else { &request.failure };
        let nested = ops.iter().filter_map(|op| match &op.request {
            Some(Request::RequestTxn(nested)) => Some(Decided::new(view, nested)),
            _ => None,
        });
        let nested = nested.collect::<Result<_, Error>>()?;
        Ok(Decided { succeeded, ops, nested })
    }

    fn check(self, view: &View) -> Result<Plan<'r>, Error> {
        let mut nested = self.nested.into_iter();
        let mut ops = Vec::with_capacity(self.ops.len());
        for op in self.ops {
            ops.push(match &op.request {
                Some(Request::RequestRange(request)) => {
                    check_range(view, request)?;
                    Planned::Range(request)
                }
                Some(Request::RequestPut(request)) => Planned::Put(PutPlan::new(view, request)?),
                Some(Request::RequestDeleteRange(request)) => Planned::DeleteRange(request),
                Some(Request::RequestTxn(_)) => {
                    let decided = nested.next().expect("one decision per nested transaction");
                    Planned::Txn(decided.check(view)?)
                }
                None => return Err(Error::KeyNotFound),
            });
        }
        Ok(Plan { succeeded: self.succeeded, ops })
    }
}

/// Unlike a range of its own, one in a transaction takes a negative revision as it is.
fn check_range(view: &View, request: &RangeRequest) -> Result<(), Error> {
    match request.revision {
        0 => Ok(()),
        revision if revision > view.revision => Err(Error::FutureRevision),
        revision if revision < view.compact_revision => Err(Error::Compacted),
        _ => Ok(()),
    }
}

impl<'r> PutPlan<'r> {
    pub(crate) fn new(view: &View, request: &'r PutRequest) -> Result<PutPlan<'r>, Error> {
        let has_lease = |lease| view.shared.state.read().leases.contains(lease);
        if request.lease != 0 && !has_lease(request.lease) {
            return Err(Error::LeaseNotFound);
        }
        let mut plan = PutPlan { request, value: request.value.clone(), lease: request.lease };
        if request.ignore_value || request.ignore_lease {
            let current = view.current(&request.key).ok_or(Error::KeyNotFound)?;
            if request.ignore_value {
                plan.value = view.value(&current)?;
            }
            if request.ignore_lease {
                plan.lease = current.lease;
            }
        }
        Ok(plan)
    }
}
