//! Snapshots, the purge behind them, and starting from them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft_rt_tokio::TokioRuntime;
use store::engine::{Batch, Engine, Visit};

use super::home::{Home, TestNode, get, process, write};
use crate::vfs::{CrashRule, Vfs};
use crate::{EngineSource, Node, Surroundings};

/// Bytes of log after which a snapshot is due here.
const LOG_BYTES: u64 = 64 << 10;

/// Bytes per value, so that a few hundred writes make several snapshots.
const VALUE_BYTES: usize = 16 << 10;

const KEYS: usize = 20;

fn home() -> Home {
    let mut home = Home::new();
    home.config.snapshot_log_bytes_min = LOG_BYTES;
    home
}

fn value(round: usize, key: usize) -> String {
    format!("{round}-{key}-").repeat(VALUE_BYTES / 8)
}

/// Overwrites all keys, and waits until a snapshot beyond what was there before is taken.
async fn round(node: &TestNode, round: usize) {
    let before = node.status().snapshot_index;
    for key in 0..KEYS {
        write(node, &format!("k{key}"), &value(round, key)).await;
    }
    // The size of the state decides: keep writing until one is due.
    let mut more = 0;
    while node.status().snapshot_index == before {
        write(node, "filler", &value(round, more)).await;
        more += 1;
        assert!(more < 10_000, "no snapshot after {more} more writes");
    }
}

fn check(node: &TestNode, round: usize) {
    for key in 0..KEYS {
        assert_eq!(get(&node.reader(), &format!("k{key}")), Some(value(round, key)));
    }
}

fn snapshot_paths(home: &Home) -> Vec<PathBuf> {
    let dir = Path::new("/data/snap");
    let names = home.fs.read_dir(dir).unwrap();
    names.iter().filter(|name| name.ends_with(".snap")).map(|name| dir.join(name)).collect()
}

/// Three rounds, each with a snapshot; then a clean stop.
fn three_rounds(home: &Home) {
    process().block_on(async {
        let node = home.start().await.unwrap();
        for n in 0..3 {
            round(&node, n).await;
        }
        write(&node, "last", "word").await;
        node.shutdown().await;
    });
}

#[test]
fn the_log_is_purged_and_a_lost_engine_comes_from_a_snapshot() {
    // Proves that the log stays in bounds, two snapshots are kept, and that snapshot and log
    // together are the whole state.
    let home = home();
    three_rounds(&home);
    assert_eq!(snapshot_paths(&home).len(), 2);
    home.engines.lose();
    process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 2);
        assert_eq!(get(&node.reader(), "last"), Some("word".into()));
        assert!(node.inner.wal.first_index() > 0, "nothing was purged");
        node.shutdown().await;
    });
    assert_eq!(home.engines.destroyed(), 1);
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_the_one_before_it_is_good() {
    // Proves that the log goes back to the last snapshot but one, and that the damaged file is
    // kept for a post-mortem.
    let home = home();
    three_rounds(&home);
    home.engines.lose();
    let newest = snapshot_paths(&home).pop().unwrap();
    let mut bytes = home.fs.contents(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    home.fs.install(&newest, bytes);
    process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 2);
        assert_eq!(get(&node.reader(), "last"), Some("word".into()));
        node.shutdown().await;
    });
    assert!(home.fs.contents(&newest.with_extension("damaged")).is_some());
}

#[test]
fn without_any_good_snapshot_the_start_is_refused() {
    // Proves that lost history is an error and never an empty store.
    let home = home();
    three_rounds(&home);
    home.engines.lose();
    for path in snapshot_paths(&home) {
        let mut bytes = home.fs.contents(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        home.fs.install(&path, bytes);
    }
    process().block_on(async {
        let Err(error) = home.start().await else { panic!("it started") };
        assert!(error.to_string().contains("no usable snapshot"), "{error}");
    });
}

/// An engine on a full disk.
struct Full;

impl EngineSource for Full {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(Arc::new(Full))
    }

    fn destroy(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Engine for Full {
    fn get(&self, _: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: &mut Visit<'_>) -> io::Result<()> {
        Ok(())
    }

    fn apply(&self, _: Batch) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&self) -> io::Result<()> {
        Err(io::Error::other("it failed before"))
    }

    fn clear(&self) -> io::Result<()> {
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn a_full_disk_is_not_taken_for_damaged_snapshots() {
    // Proves that an engine that cannot be rebuilt leaves the snapshots alone: once there is room,
    // the next start has everything.
    let home = home();
    three_rounds(&home);
    home.engines.lose();
    let snapshots = snapshot_paths(&home);
    process().block_on(async {
        let mut surroundings = Surroundings::real(&home.config);
        surroundings.vfs = Arc::new(home.fs.clone());
        surroundings.engines = Box::new(Full);
        let started = Node::<TokioRuntime>::start_in(home.config.clone(), surroundings).await;
        let Err(error) = started else { panic!("it started") };
        assert!(error.to_string().contains("cannot be made anew"), "{error}");
    });
    assert_eq!(snapshot_paths(&home), snapshots);
    process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 2);
        node.shutdown().await;
    });
}

#[test]
fn power_failures_around_snapshots_lose_nothing() {
    // Proves it with the engine lost each time too: what survives is log and snapshots alone.
    let mut home = home();
    for life in 0..6 {
        let process = process();
        process.block_on(async {
            let node = home.start().await.unwrap();
            if life > 0 {
                check(&node, life - 1);
            }
            round(&node, life).await;
            for key in 0..KEYS {
                write(&node, &format!("k{key}"), &value(life, key)).await;
            }
        });
        home.crash(CrashRule::Tear { seed: life as u64 });
        drop(process);
        home.engines.lose();
    }
}

#[test]
fn a_backup_is_a_snapshot_of_one_revision() {
    // Proves that what is streamed to an operator is what the data directory would hold.
    process().block_on(async {
        let home = home();
        let node = home.start().await.unwrap();
        round(&node, 0).await;
        let backup = node.backup().await.unwrap();
        let revision = backup.revision();
        assert_eq!(revision, node.reader().revision());
        write(&node, "later", "1").await;
        let mut bytes = Vec::new();
        backup.write_to(&mut bytes).unwrap();
        node.shutdown().await;

        let copy = self::home();
        copy.fs.create_dir_all(Path::new("/data/snap")).unwrap();
        copy.fs.install(Path::new("/data/snap/x.snap"), bytes);
        let vfs = Arc::new(copy.fs.clone());
        let dir = crate::snapshot::SnapshotDir::open(vfs, "/data/snap".into(), None).unwrap();
        let file = dir.newest().unwrap();
        let engine = Arc::new(store::engine::MemEngine::new());
        let options = store::Options::default();
        let store = store::Store::restore(engine, options, &mut file.read_state()).unwrap();
        assert_eq!(store.reader().revision(), revision);
        assert_eq!(get(&store.reader(), "k3"), Some(value(0, 3)));
        assert_eq!(get(&store.reader(), "later"), None);
    });
}
