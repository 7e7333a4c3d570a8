//! Whether whoever asked for a command may have it done, as etcd's auth applier decides.

use api::berthpb::Principal;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

use crate::Error;
use crate::auth::Access::{Read, Write};
use crate::state::State;

/// The caller of one command, as the state knows them.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) state: &'a State,
    pub(crate) principal: Option<&'a Principal>,
}

impl Caller<'_> {
    pub(crate) fn may_range(&self, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        self.state.auth.check_range(self.principal, key, range_end, Read)
    }

    fn may_write(&self, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        self.state.auth.check_range(self.principal, key, range_end, Write)
    }

    pub(crate) fn may_put(&self, request: &PutRequest) -> Result<(), Error> {
        if !self.state.auth.enabled() {
            return Ok(());
        }
        self.may_write(&request.key, &[])?;
        // Who may not write a key of the lease may not revoke it; attaching to it is as good.
        self.may_write_lease(request.lease)?;
        if request.prev_kv { self.may_range(&request.key, &[]) } else { Ok(()) }
    }

    pub(crate) fn may_delete(&self, request: &DeleteRangeRequest) -> Result<(), Error> {
        self.may_write(&request.key, &request.range_end)?;
        if request.prev_kv { self.may_range(&request.key, &request.range_end) } else { Ok(()) }
    }

    /// All branches, whichever will be taken.
    pub(crate) fn may_txn(&self, request: &TxnRequest) -> Result<(), Error> {
        if !self.state.auth.enabled() {
            return Ok(());
        }
        for compare in &request.compare {
            self.may_range(&compare.key, &compare.range_end)?;
        }
        request.success.iter().chain(&request.failure).try_for_each(|op| self.may_op(op))
    }

    fn may_op(&self, op: &RequestOp) -> Result<(), Error> {
        match &op.request {
            Some(Request::RequestRange(range)) => self.may_range(&range.key, &range.range_end),
            Some(Request::RequestPut(put)) => self.may_put(put),
            Some(Request::RequestDeleteRange(delete)) => self.may_delete(delete),
            Some(Request::RequestTxn(nested)) => self.may_txn(nested),
            None => Ok(()),
        }
    }

    /// May the caller write every key that is attached to the lease?
    pub(crate) fn may_write_lease(&self, id: i64) -> Result<(), Error> {
        if self.may_administer().is_ok() {
            return Ok(());
        }
        let keys = self.state.leases.get(id).into_iter().flat_map(|lease| &lease.keys);
        keys.into_iter().try_for_each(|key| self.may_write(key, &[]))
    }

    pub(crate) fn may_administer(&self) -> Result<(), Error> {
        self.state.auth.check_admin(self.principal)
    }
}
