//! Members that have applied the same hold the same.

use std::collections::BTreeMap;

use crate::cluster::Cluster;

/// Compares the hashes of all running members that stand at one revision, compacted alike.
pub(super) fn compare(cluster: &Cluster) {
    let mut seen: BTreeMap<(i64, i64), (u64, u32)> = BTreeMap::new();
    for id in cluster.running() {
        let Some(node) = cluster.node(id) else { continue };
        let Ok(hash) = node.reader().hash_kv(0) else { continue };
        let at = (hash.hash_revision, hash.compact_revision);
        let (first, expected) = *seen.entry(at).or_insert((id, hash.hash));
        if expected != hash.hash {
            let what = format!("members {first} and {id} differ at revision {}", at.0);
            cluster.world.violation("equal states", what);
        }
    }
}
