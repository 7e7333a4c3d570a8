//! Reads from the store: what must come first, and where they run.

use api::berthpb::Principal;
use api::etcdserverpb::range_request::SortOrder;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{RangeRequest, RequestOp, TxnRequest};

use futures::Stream;

use super::Context;
use super::errors::Error;
use super::feed::{STALL_MAX, feed};
use crate::steps;

/// A range with at most this limit is read where it is asked; more may take long, or wait for the
/// disk often, and takes a turn ([`super::turns`]).
const KEYS_AT_ONCE_MAX: i64 = 32;

impl Context {
    /// Waits, unless `serializable`, until the state shows everything acknowledged so far.
    pub(crate) async fn barrier(&self, serializable: bool) -> Result<(), Error> {
        if !serializable {
            if self.node().is_learner() && !self.serve_learner_reads() {
                return Err(Error::NotSupportedForLearner);
            }
            let waited = steps::step("read index", self.node().linearizable()).await;
            if let Err(error) = &waited {
                self.metrics().read_index_failed(error);
            }
            waited?;
        }
        Ok(())
    }

    /// Runs `read` on the present state; `short` says that it cannot hold up others.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        short: bool,
        read: impl FnOnce(&store::Reader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = self.node().reader();
        let reading = async {
            if short {
                return Ok(read(&reader)?);
            }
            Ok(self.readers().run(move || read(&reader)).await??)
        };
        steps::step("range", reading).await
    }

    /// What `next` answers until it answers `None`, each when its client takes it, with a turn as
    /// any read; a client that takes nothing for long is cut off, and holds nothing from then on.
    pub(crate) fn feed<T: Send + 'static>(
        &self,
        next: impl FnMut() -> Result<Option<T>, store::Error> + Send + 'static,
    ) -> impl Stream<Item = Result<T, Error>> + Send + 'static {
        feed(self.readers().clone(), next, STALL_MAX)
    }

    /// Auth may have changed while a read went on; then what was read must not go out. As etcd
    /// does, this looks at reads of users only.
    pub(super) fn check_still(&self, principal: Option<&Principal>) -> Result<(), Error> {
        match principal {
            Some(principal)
                if principal.auth_revision != self.node().reader().auth().revision() =>
            {
                Err(store::Error::AuthOldRevision.into())
            }
            _ => Ok(()),
        }
    }
}

/// It touches few keys for certain.
pub(super) fn is_short(range: &RangeRequest) -> bool {
    let few = range.count_only || (1..=KEYS_AT_ONCE_MAX).contains(&range.limit);
    range.range_end.is_empty() || (few && !needs_all(range))
}

/// The same for all that a read-only transaction reads.
pub(super) fn txn_is_short(txn: &TxnRequest) -> bool {
    let compares = txn.compare.iter().all(|compare| compare.range_end.is_empty());
    compares && ranges(txn, is_short)
}

/// It sorts or filters, so every key of the range is looked at, whatever the limit.
fn needs_all(range: &RangeRequest) -> bool {
    range.sort_order != SortOrder::None as i32 || has_revision_filters(range)
}

pub(super) fn has_revision_filters(range: &RangeRequest) -> bool {
    let revisions = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    revisions.iter().any(|revision| *revision != 0)
}

/// All that a read-only transaction reads may be read without the barrier.
pub(super) fn is_serializable(txn: &TxnRequest) -> bool {
    ranges(txn, |range| range.serializable)
}

/// All operations are ranges that `holds` is true for.
fn ranges(txn: &TxnRequest, holds: impl Fn(&RangeRequest) -> bool) -> bool {
    let op = |op: &RequestOp| match &op.request {
        Some(Request::RequestRange(range)) => holds(range),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).all(op)
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::range_request::SortTarget;

    use super::*;

    fn range(limit: i64) -> RangeRequest {
        RangeRequest { range_end: b"\0".as_slice().into(), limit, ..Default::default() }
    }

    fn txn(requests: Vec<Request>) -> TxnRequest {
        let ops = requests.into_iter().map(|request| RequestOp { request: Some(request) });
        TxnRequest { failure: ops.collect(), ..Default::default() }
    }

    #[test]
    fn a_range_is_short_only_if_it_looks_at_few_keys() {
        // Shows that a limit does not help a range that must sort or filter everything first.
        assert!(is_short(&RangeRequest::default()));
        assert!(is_short(&range(32)));
        assert!(!is_short(&range(33)));
        assert!(!is_short(&range(0)));
        assert!(is_short(&RangeRequest { count_only: true, ..range(0) }));
        let sorted = RangeRequest {
            sort_order: SortOrder::Descend as i32,
            sort_target: SortTarget::Value as i32,
            ..range(1)
        };
        assert!(!is_short(&sorted));
        assert!(!is_short(&RangeRequest { min_mod_revision: 5, ..range(1) }));
    }

    #[test]
    fn one_linearizable_range_makes_a_transaction_so() {
        // Shows that all ranges must ask for less before the barrier is left out; a transaction
        // that reads nothing but compares asks for less, as in etcd.
        let serializable = RangeRequest { serializable: true, ..range(1) };
        let lax = Request::RequestRange(serializable);
        assert!(is_serializable(&txn(vec![lax.clone()])));
        assert!(!is_serializable(&txn(vec![lax, Request::RequestRange(range(1))])));
        assert!(is_serializable(&TxnRequest::default()));
    }
}
