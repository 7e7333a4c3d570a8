//! A backup file as a member of a new cluster.

use std::path::PathBuf;

use clap::Args;
use raft::InitialMember;
use raft::restore::{Plan, restore};

use super::Outcome;
use crate::config::InitialCluster;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What `snapshot save` wrote
    file: PathBuf,
    /// Human-readable name for this member
    #[arg(long, default_value = "default")]
    name: String,
    /// Path to the data directory; missing or empty [default: NAME.berth]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Path to the directory of the log; missing or empty [default: DATA_DIR/wal]
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// All members of the new cluster, as NAME=URL,... [default: this one alone]
    #[arg(long)]
    initial_cluster: Option<String>,
    /// Initial cluster token for the new cluster
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// List of this member's peer URLs to advertise to the rest of the cluster
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// How much to increase the latest revision after restore
    #[arg(
        long,
        requires = "mark_compacted",
        value_parser = clap::value_parser!(i64).range(1..),
    )]
    bump_revision: Option<i64>,
    /// Mark the latest revision after restore as the point of scheduled compaction (goes with
    /// --bump-revision)
    #[arg(long, requires = "bump_revision")]
    mark_compacted: bool,
    /// Ignore snapshot integrity hash value (required if copied from data directory)
    #[arg(long)]
    skip_hash_check: bool,
}

impl Restore {
    pub(crate) fn run(self) -> Outcome {
        let file = self.file.clone();
        let plan = self.plan()?;
        let summary = restore(&file, &plan).map_err(|error| error.to_string())?;
        // Not on standard output, on which etcd's tools say nothing.
        eprintln!(
            "Restored revision {} as member {:x} of cluster {:x} in {}",
            summary.revision + plan.bump_revision,
            plan.member_id,
            plan.cluster_id,
            plan.data_dir.display()
        );
        Ok(())
    }

    fn plan(self) -> Result<Plan, String> {
        let advertised = &self.initial_advertise_peer_urls;
        let initial = self.initial_cluster.unwrap_or_else(|| {
            let entry = |url| format!("{}={url}", self.name);
            advertised.split(',').map(entry).collect::<Vec<_>>().join(",")
        });
        let token = &self.initial_cluster_token;
        let cluster = InitialCluster::parse(&self.name, &initial, token, advertised)?;
        let members = cluster.members.iter().map(|member| InitialMember {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.iter().map(ToString::to_string).collect(),
        });
        let data_dir = self.data_dir.unwrap_or_else(|| format!("{}.berth", self.name).into());
        Ok(Plan {
            incarnation: rand::random(),
            cluster_id: cluster.cluster_id,
            member_id: cluster.member_id,
            members: members.collect(),
            wal_dir: self.wal_dir.unwrap_or_else(|| data_dir.join("wal")),
            data_dir,
            bump_revision: self.bump_revision.unwrap_or(0),
            mark_compacted: self.mark_compacted,
            skip_hash_check: self.skip_hash_check,
        })
    }
}
