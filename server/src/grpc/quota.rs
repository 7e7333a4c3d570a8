//! How much the store may hold.
//!
//! The quota counts live bytes, so compaction alone makes room. A write that would pass it is
//! refused here and raises the NOSPACE alarm, which then refuses writes on every member, in the
//! state machine, until it is disarmed. Reads, deletes and compaction go on.

use std::time::Duration;

use api::berthpb::command::Op;
use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{AlarmRequest, AlarmType, PutRequest, RequestOp, TxnRequest};

use tonic::metadata::MetadataMap;

use super::Context;
use super::errors::Error;

/// What etcd reckons a key to cost beside its bytes, and a lease to cost.
const KEY_OVERHEAD_BYTES: u64 = 256;
pub(super) const LEASE_BYTES: u64 = 64;

/// How often a raised alarm is looked at.
const DISARM_INTERVAL: Duration = Duration::from_secs(1);

impl Context {
    /// Refuses a write that costs `cost` bytes more than the quota has left. A write that costs
    /// nothing always goes on. Whoever sent `metadata` is not known to have a right to write: a
    /// stranger is told the same, as by etcd, but stops nobody else from writing.
    ///
    /// # Errors
    /// `database space exceeded`; unless for a stranger, the alarm is raised by then.
    pub(crate) async fn admit(&self, metadata: &MetadataMap, cost: u64) -> Result<(), Error> {
        if cost == 0 || self.fits(cost) {
            return Ok(());
        }
        if !self.nospace_is_raised() && self.require_user(metadata).is_ok() {
            tracing::warn!("the quota is used up: raising the NOSPACE alarm");
            self.set_nospace(AlarmAction::Activate).await?;
        }
        Err(store::Error::NoSpace.into())
    }

    /// Disarms this member's NOSPACE alarm whenever there is a tenth of the quota left again; runs
    /// for as long as the server does.
    pub async fn disarm_nospace(self) {
        loop {
            tokio::time::sleep(DISARM_INTERVAL).await;
            let room = self.quota_bytes().unwrap_or(0) / 10;
            if self.nospace_is_raised() && self.fits(room) {
                tracing::info!("there is room again: disarming the NOSPACE alarm");
                if let Err(error) = self.set_nospace(AlarmAction::Deactivate).await {
                    tracing::warn!(?error, "the NOSPACE alarm was not disarmed");
                }
            }
        }
    }

    fn fits(&self, bytes: u64) -> bool {
        match self.quota_bytes() {
            Some(quota) => self.node().reader().live_bytes().saturating_add(bytes) < quota,
            None => true,
        }
    }

    fn nospace_is_raised(&self) -> bool {
        let own = |alarm: &api::etcdserverpb::AlarmMember| {
            alarm.member_id == self.member_id() && alarm.alarm() == AlarmType::Nospace
        };
        self.node().reader().alarms().iter().any(own)
    }

    async fn set_nospace(&self, action: AlarmAction) -> Result<(), Error> {
        let request = AlarmRequest {
            action: action as i32,
            member_id: self.member_id(),
            alarm: AlarmType::Nospace as i32,
        };
        self.propose(None, Op::Alarm(request)).await.map(drop)
    }
}

pub(super) fn put_cost(put: &PutRequest) -> u64 {
    KEY_OVERHEAD_BYTES + bytes(put.key.len()) + bytes(put.value.len())
}

/// The dearer of the two branches: which one runs is not known yet.
pub(super) fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| ops.iter().map(op_cost).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_cost(op: &RequestOp) -> u64 {
    match &op.request {
        Some(Request::RequestPut(put)) => put_cost(put),
        Some(Request::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    }
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{DeleteRangeRequest, RangeRequest};

    use super::*;

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn put(value_len: usize) -> RequestOp {
        let value = vec![b'v'; value_len].into();
        op(Request::RequestPut(PutRequest {
            key: b"k".as_slice().into(),
            value,
            ..Default::default()
        }))
    }

    #[test]
    fn reads_and_deletes_cost_nothing() {
        // Shows that what makes room, or leaves it alone, is admitted with a full quota.
        let free = TxnRequest {
            success: vec![
                op(Request::RequestRange(RangeRequest::default())),
                op(Request::RequestDeleteRange(DeleteRangeRequest::default())),
            ],
            ..Default::default()
        };
        assert_eq!(txn_cost(&free), 0);
    }

    #[test]
    fn a_transaction_costs_its_dearer_branch() {
        // Shows etcd's reckoning: 256 bytes for each key beside its own, branches compared, nested
        // transactions included.
        let nested = TxnRequest { success: vec![put(100)], ..Default::default() };
        let txn = TxnRequest {
            success: vec![put(0), put(0)],
            failure: vec![put(10), op(Request::RequestTxn(nested))],
            ..Default::default()
        };
        assert_eq!(txn_cost(&txn), (256 + 1 + 10) + (256 + 1 + 100));
    }
}
