//! Whether all members hold the same.

use api::etcdserverpb::HashKvRequest;

use super::Cluster;
use crate::client::bounded;
use crate::wait::eventually;

/// Catching up after a long absence, on a busy machine.
const CONVERGED_S_MAX: u64 = 60;
/// How many revisions are compared: each costs a walk over all keys on each member.
const REVISIONS_MAX: i64 = 48;

/// The hash of one member's keys at one revision.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hash {
    hash: u32,
    compact_revision: i64,
}

impl Cluster {
    /// Waits until all running members have applied the same, then compares their hashes at the
    /// revisions that all of them still have. Returns the revision.
    ///
    /// # Panics
    /// When they do not come together within a minute, or their hashes differ.
    pub async fn converged(&mut self) -> i64 {
        let running = self.running();
        let revision = self.same_applied(&running).await;
        // 3.4 has no hash at exactly the compacted revision.
        let compacted = self.hash(running[0], revision).await.expect("a hash").compact_revision;
        let oldest = (compacted + 1).clamp(1, revision);
        let step = ((revision - oldest) / REVISIONS_MAX).max(1);
        let first = revision - (revision - oldest) / step * step;
        for at in (first..=revision).step_by(usize::try_from(step).expect("a step is small")) {
            self.same_hash(&running, at).await;
        }
        revision
    }

    async fn same_applied(&self, places: &[usize]) -> i64 {
        eventually("all members have applied the same", CONVERGED_S_MAX, async || {
            let mut seen = Vec::new();
            for at in places {
                let status = self.members[*at].status().await?;
                let revision = status.header.map_or(0, |header| header.revision);
                seen.push((status.raft_applied_index, revision));
            }
            let same = seen.iter().all(|one| *one == seen[0]);
            if same { Ok(seen[0].1) } else { Err(format!("{seen:?}")) }
        })
        .await
    }

    async fn same_hash(&self, places: &[usize], revision: i64) {
        // A physical compaction that is still under way changes what a hash covers.
        let hashes = eventually("hashes over the same history", CONVERGED_S_MAX, async || {
            let mut hashes = Vec::new();
            for at in places {
                hashes.push(self.hash(*at, revision).await?);
            }
            let same = hashes.iter().all(|one| one.compact_revision == hashes[0].compact_revision);
            if same { Ok(hashes) } else { Err(format!("{hashes:?}")) }
        })
        .await;
        assert!(
            hashes.iter().all(|hash| *hash == hashes[0]),
            "the members differ at revision {revision}: {hashes:?}"
        );
    }

    async fn hash(&self, at: usize, revision: i64) -> Result<Hash, String> {
        let mut clients = self.clients(at);
        let answer = bounded(clients.maintenance.hash_kv(HashKvRequest { revision })).await;
        let answer = answer.map_err(|refusal| refusal.to_string())?.into_inner();
        Ok(Hash { hash: answer.hash, compact_revision: answer.compact_revision })
    }
}
