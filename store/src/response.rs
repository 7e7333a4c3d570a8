//! What applying a command answers.

use std::sync::Arc;

use api::etcdserverpb as pb;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Error, EventBatch, v2};

/// How far the log has been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
    /// Raft's own encoding of its log id; opaque here.
    pub log_id: Bytes,
}

/// The outcome of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The store's revision after the command.
    pub revision: i64,
    /// The answer; an error says that nothing was changed.
    pub result: Result<Response, Error>,
    /// What changed, one batch per main revision, in order. Only expired leases make more than
    /// one: each lease that had keys is a revision of its own.
    pub events: SmallVec<[Arc<EventBatch>; 1]>,
}

/// One variant per command, with the message that etcd answers. The header carries the revision
/// only: ids and term are the server's to fill.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compact(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    ExpireLeases,
    CheckpointLeases,
    Alarm(pb::AlarmResponse),
    PublishMember,
    AuthEnable(pb::AuthEnableResponse),
    AuthDisable(pb::AuthDisableResponse),
    UserAdd(pb::AuthUserAddResponse),
    UserChangePassword(pb::AuthUserChangePasswordResponse),
    UserDelete(pb::AuthUserDeleteResponse),
    UserGrantRole(pb::AuthUserGrantRoleResponse),
    UserRevokeRole(pb::AuthUserRevokeRoleResponse),
    RoleAdd(pb::AuthRoleAddResponse),
    RoleDelete(pb::AuthRoleDeleteResponse),
    RoleGrantPermission(pb::AuthRoleGrantPermissionResponse),
    RoleRevokePermission(pb::AuthRoleRevokePermissionResponse),
    IssueToken(pb::AuthenticateResponse),
    /// What a write of the v2 API did, or by which of its rules it was refused.
    V2Write(Result<Arc<v2::Event>, v2::Refusal>),
    /// What has expired there.
    V2Expire(Vec<Arc<v2::Event>>),
}

/// A header that says the revision.
pub(crate) fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
}

pub(crate) fn count(count: usize) -> i64 {
    i64::try_from(count).expect("a count of what is in memory")
}
