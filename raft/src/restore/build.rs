//! What is in the restored directories.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use futures::channel::oneshot;
use openraft::vote::RaftLeaderId;
use store::snapshot::Transplant;

use super::Plan;
use super::backup::{BackupSummary, Ending, Source};
use crate::codec;
use crate::error::Error;
use crate::open::Metadata;
use crate::snapshot::{SnapshotDir, SnapshotHeader};
use crate::types::{
    CommittedLeaderId, LeaderId, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote,
};
use crate::vfs::Vfs;
use crate::wal::{self, Wal};

/// Writes snapshot and log into the directories of `plan`, durably.
pub(super) fn build(
    vfs: Arc<dyn Vfs>,
    mut source: Source,
    plan: &Plan,
) -> Result<BackupSummary, Error> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::Refused(format!("cannot write {}: {error}", plan.data_dir.display()))
    };
    let start = after(source.header.log_id());
    let membership = StoredMembership::new(Some(start), plan.membership()?);
    let transplant = Transplant {
        position: codec::position(&start),
        membership: codec::encode_stored_membership(&membership),
        bump_revision: plan.bump_revision,
        mark_compacted: plan.mark_compacted,
    };
    let meta = SnapshotMeta { last_log_id: Some(start), last_membership: membership };
    let header = SnapshotHeader { cluster_id: plan.cluster_id, meta };

    let snapshots = SnapshotDir::open(vfs.clone(), plan.data_dir.join("snap"), None);
    let snapshots = snapshots.map_err(|error| cannot(&error))?;
    let mut read = None;
    let written = snapshots.write(&header, |mut out| {
        read = Some(store::snapshot::transplant(&mut source.state, &mut out, &transplant)?);
        Ok(())
    });
    written.map_err(|error| source.refuse(&error))?;
    let read = read.expect("it was written");
    let summary = source.finish(&read, |ending| plan.skip_hash_check || ending == Ending::Right)?;
    begin_log(vfs, plan, &start).map_err(|error| cannot(&error))?;
    Ok(summary)
}

/// The log id of the entry that the new membership came with, had there been one.
fn after(last: Option<LogId>) -> LogId {
    match last {
        Some(LogId { leader_id, index }) => LogId { leader_id, index: index + 1 },
        None => LogId { leader_id: CommittedLeaderId::new(0), index: 0 },
    }
}

impl Plan {
    fn membership(&self) -> Result<Membership, Error> {
        let peer = |member: &crate::InitialMember| Peer {
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            wants_vote: false,
        };
        let voters: BTreeSet<u64> = self.members.iter().map(|member| member.id).collect();
        let peers: BTreeMap<u64, Peer> =
            self.members.iter().map(|member| (member.id, peer(member))).collect();
        Membership::new(vec![voters], peers)
            .map_err(|error| Error::Refused(format!("these members make no cluster: {error}")))
    }

    /// Of the term of the snapshot, the same for every member, and won by nobody: whoever leads
    /// first does so in a later term.
    fn vote(&self, start: &LogId) -> Vote {
        let first = self.members.iter().map(|member| member.id).min().unwrap_or(self.member_id);
        Vote { leader_id: LeaderId::new(start.leader_id.term, first), committed: false }
    }
}

/// A log without entries that begins behind `start`.
fn begin_log(vfs: Arc<dyn Vfs>, plan: &Plan, start: &LogId) -> io::Result<()> {
    let Plan { cluster_id, member_id, incarnation, .. } = *plan;
    let metadata = Metadata { cluster_id, member_id, incarnation };
    let options = wal::Options::default();
    let (log, _, writer) = Wal::create_or_open(vfs, &plan.wal_dir, metadata.encode(), options)?;
    let (voted, vote_saved) = oneshot::channel();
    let (purged, purge_saved) = oneshot::channel();
    // Whoever is told is still there: it waits below.
    log.save_vote(
        codec::encode_vote(&plan.vote(start)),
        Box::new(|result| drop(voted.send(result))),
    );
    let log_id = codec::encode_log_id(start);
    log.purge(start.index, log_id, Box::new(|result| drop(purged.send(result))));
    log.close();
    let told = futures::executor::block_on(async {
        writer.run().await?;
        Ok::<_, wal::Error>([vote_saved.await, purge_saved.await])
    });
    for saved in told? {
        saved.map_err(|_| io::Error::other("the log's writer ended early"))??;
    }
    Ok(())
}
