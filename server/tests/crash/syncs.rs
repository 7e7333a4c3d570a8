//! What is acknowledged is on the disk: the system itself was asked to put it there.

use std::collections::BTreeSet;
use std::path::Path;

use api::etcdserverpb::PutRequest;
use tempfile::TempDir;
use testkit::{Clients, Cluster, Kind, Place, Syncs, bounded, skipped, subject};

const PUTS: usize = 20;
const LARGE_BYTES: usize = 1 << 20;
/// More than one segment of the log holds.
const LARGE_PUTS: usize = 80;

/// Proves that before each answer the log's file was synced, and before the first answer that rests
/// on a new file of the log its directory: by the real calls of the real process, which a kill alone,
/// after which the page cache is still there, does not show.
#[tokio::test]
async fn each_write_is_synced_before_it_is_acknowledged() {
    if subject!().kind == Kind::Etcd {
        return skipped("syncs before answers", "etcd does not make them by the C library");
    }
    let directory = TempDir::new().unwrap();
    let syncs = match Syncs::compile(directory.path()) {
        Ok(syncs) => syncs,
        Err(why) => return skipped("syncs before answers", &why),
    };
    let list = directory.path().join("list");
    let mut cluster = Cluster::prepare(subject!(), vec![Place::loopback()], &[]).await;
    syncs.record(cluster.member_mut(0), &list);
    cluster.launch();
    cluster.member_mut(0).wait_serving().await;
    let mut clients = cluster.member(0).clients();
    put(&mut clients, "first", 1).await;

    for number in 0..PUTS {
        let before = synced(&list).iter().filter(|path| is_log(path)).count();
        put(&mut clients, &format!("k{number}"), 1).await;
        let after = synced(&list).iter().filter(|path| is_log(path)).count();
        assert!(after > before, "put {number} was acknowledged without a sync of the log");
    }

    let logs = |list: &[String]| -> BTreeSet<String> {
        list.iter().filter(|path| is_log(path)).cloned().collect()
    };
    let before = logs(&synced(&list));
    for number in 0..LARGE_PUTS {
        put(&mut clients, &format!("l{number}"), LARGE_BYTES).await;
    }
    let all = synced(&list);
    let new = logs(&all).difference(&before).next().cloned().expect("a new file of the log");
    let first = all.iter().position(|path| *path == new).unwrap();
    let parent = Path::new(&new).parent().unwrap().display().to_string();
    let mut since_old = all[..first].iter().rev().take_while(|path| !before.contains(*path));
    assert!(since_old.any(|path| *path == parent), "{parent} is not synced: {all:#?}");
}

async fn put(clients: &mut Clients, key: &str, bytes: usize) {
    let value = vec![b'v'; bytes].into();
    let put = PutRequest { key: key.to_owned().into(), value, ..PutRequest::default() };
    bounded(clients.kv.put(put)).await.expect("a put");
}

fn synced(list: &Path) -> Vec<String> {
    let list = std::fs::read_to_string(list).unwrap_or_default();
    list.lines().map(ToOwned::to_owned).collect()
}

/// A file of the log. One that is being made has another name until it is synced.
fn is_log(path: &str) -> bool {
    path.ends_with(".wal")
}
