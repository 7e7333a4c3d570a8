//! The Maintenance service.

use std::time::Instant;

use api::berthpb::command::Op;
use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::downgrade_request::DowngradeAction;
use api::etcdserverpb::maintenance_server::Maintenance as MaintenanceService;
use api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, StatusRequest,
    StatusResponse,
};
use tonic::{Request, Response, Status};

use super::Context;
use super::errors::Error;
use super::proposal::answer;
use super::snapshot_stream::{self, SnapshotStream};
use crate::{CLUSTER_VERSION, ETCD_VERSION};

#[derive(Clone)]
pub(super) struct Maintenance {
    pub(super) context: Context,
}

#[tonic::async_trait]
impl MaintenanceService for Maintenance {
    type SnapshotStream = SnapshotStream;

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let asked = *request.get_ref();
        let mut told = match AlarmAction::try_from(asked.action) {
            Ok(AlarmAction::Get) => {
                self.context.require_user(request.metadata())?;
                self.context.barrier(false).await?;
                self.raised(asked.alarm)
            }
            Ok(AlarmAction::Activate | AlarmAction::Deactivate) => {
                let principal = self.context.require_admin(request.metadata())?;
                answer!(self.context.propose(principal, Op::Alarm(asked)).await?, Alarm)
            }
            Err(_) => return Err(Error::UnknownMethod.into()),
        };
        self.context.fill(&mut told.header);
        Ok(Response::new(told))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.context.require_user(request.metadata())?;
        Ok(Response::new(self.describe()))
    }

    /// Space is given back all the time, while the member serves. This does at once what is due,
    /// and stops nobody.
    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        let _measured = self.context.metrics().defragmenting();
        self.context.node().compact_physically().await.map_err(Error::from)?;
        // etcd gives no header here.
        Ok(Response::new(DefragmentResponse::default()))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        let header = self.context.header();
        let began = Instant::now();
        let hash = self.context.read(false, store::Reader::hash).await?;
        self.context.metrics().hashed(began);
        Ok(Response::new(HashResponse { header, hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        let revision = request.get_ref().revision;
        let header = self.context.header();
        let began = Instant::now();
        let hashed = self.context.read(false, move |reader| reader.hash_kv(revision)).await?;
        self.context.metrics().hashed_revision(began);
        Ok(Response::new(HashKvResponse {
            header,
            hash: hashed.hash,
            compact_revision: hashed.compact_revision,
            hash_revision: hashed.hash_revision,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotStream>, Status> {
        self.context.require_admin(request.metadata())?;
        let turn = self.context.snapshots().take().await;
        let backup = self.context.node().backup().await.map_err(Error::from)?;
        let bytes_expected = self.context.node().reader().live_bytes();
        let metrics = self.context.metrics().clone();
        Ok(Response::new(snapshot_stream::start(backup, bytes_expected, turn, metrics)))
    }

    /// Answered by the leader alone, once the other leads.
    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        let node = self.context.node();
        if node.leader() != Some(self.context.member_id()) {
            return Err(Error::NotLeader.into());
        }
        let target = request.get_ref().target_id;
        if !node.is_voter(target) {
            return Err(Error::BadLeaderTransferee.into());
        }
        node.transfer_leader(target).await.map_err(|error| match error {
            raft::Error::NoLeader => Error::NotLeader,
            raft::Error::Timeout => Error::TransferTimedOut,
            error => error.into(),
        })?;
        // etcd gives no header here.
        Ok(Response::new(MoveLeaderResponse::default()))
    }

    /// There is no older version to go back to, and so never a downgrade on its way.
    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        match DowngradeAction::try_from(request.get_ref().action) {
            Ok(DowngradeAction::Cancel) => {}
            Ok(_) if is_version(&request.get_ref().version) => {
                return Err(Error::InvalidDowngradeTarget.into());
            }
            Ok(_) => return Err(Error::WrongDowngradeVersion.into()),
            Err(_) => return Err(Error::UnknownMethod.into()),
        }
        let version = CLUSTER_VERSION.to_owned();
        Ok(Response::new(DowngradeResponse { header: self.context.header(), version }))
    }
}

impl Maintenance {
    /// The alarms of one kind; 0 stands for all.
    fn raised(&self, kind: i32) -> AlarmResponse {
        let mut alarms = self.context.node().reader().alarms();
        if kind != AlarmType::None as i32 {
            alarms.retain(|alarm| alarm.alarm == kind);
        }
        AlarmResponse { header: None, alarms }
    }

    fn describe(&self) -> StatusResponse {
        let node = self.context.node();
        // What consensus says of itself comes a little after the fact.
        let (reader, status) = (node.reader(), node.status());
        let size = reader.size();
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        errors.extend(reader.alarms().iter().map(in_words));
        StatusResponse {
            header: self.context.header(),
            version: ETCD_VERSION.to_owned(),
            // What was written behind may not have reached the disk yet.
            db_size: signed(size.engine_bytes.max(size.live_bytes)),
            // A field that is 0 is not sent, and some tools take a missing one for an old server.
            db_size_in_use: signed(size.live_bytes.max(1)),
            db_size_quota: self.context.quota_bytes().map_or(0, signed),
            leader: status.leader.unwrap_or(0),
            raft_index: status.committed_index.max(status.applied_index),
            raft_applied_index: status.applied_index,
            raft_term: status.term,
            is_learner: status.is_learner,
            storage_version: CLUSTER_VERSION.to_owned(),
            downgrade_info: Some(DowngradeInfo::default()),
            errors,
        }
    }
}

/// As Go prints the message, which is what operators grep for.
fn in_words(alarm: &AlarmMember) -> String {
    format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())
}

/// `major.minor`, perhaps with a patch level.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
