//! Start, stop, kill, power failure: what was acknowledged stays.

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::PutRequest;

use super::home::{Home, TestNode, get, process, put, write};
use crate::vfs::{CrashRule, Vfs};
use crate::{Error, Node};

/// Writes `count` keys of one life of the node.
async fn live(node: &TestNode, life: usize, count: usize) {
    for n in 0..count {
        write(node, &format!("k{life}-{n}"), &format!("v{life}-{n}")).await;
    }
}

/// Every key of the lives before `lives` is there, and nothing was applied twice.
fn check(node: &TestNode, lives: usize, count: usize) {
    for life in 0..lives {
        for n in 0..count {
            let value = get(&node.reader(), &format!("k{life}-{n}"));
            assert_eq!(value, Some(format!("v{life}-{n}")), "key {n} of life {life}");
        }
    }
    let revision = i64::try_from(lives * count).unwrap() + 1;
    assert_eq!(node.reader().revision(), revision);
}

#[test]
fn a_fresh_node_serves_at_once() {
    // Proves that a started node leads, answers, and reports itself as etcd would.
    process().block_on(async {
        let home = Home::new();
        let node = home.start().await.unwrap();
        let applied = write(&node, "a", "1").await;
        assert_eq!(applied.revision, 2);
        node.linearizable().await.unwrap();
        assert_eq!(get(&node.reader(), "a"), Some("1".into()));
        let status = node.status();
        assert_eq!(status.leader, Some(0x3e));
        assert!(status.term >= 2, "{status:?}");
        assert_eq!(status.applied_index, status.last_index);
        assert!(!status.is_learner);
        node.shutdown().await;
        assert_eq!(node.propose(put("b", "2")).await.err(), Some(Error::Stopped));
        assert_eq!(node.linearizable().await.err(), Some(Error::Stopped));
    });
}

#[test]
fn the_machines_files_and_sled_keep_it_too() {
    // Proves what production runs: its files, sled, stops, kills, and an engine that is removed.
    let temp = tempfile::tempdir().unwrap();
    let mut config = Home::new().config;
    config.wal_dir = temp.path().join("wal");
    config.data_dir = temp.path().join("data");
    for life in 0..6 {
        let process = process();
        process.block_on(async {
            let node: TestNode = Node::start(config.clone()).await.unwrap();
            check(&node, life, 20);
            live(&node, life, 20).await;
            node.shutdown().await;
        });
        drop(process);
        if life % 3 == 2 {
            std::fs::remove_dir_all(config.data_dir.join("db")).unwrap();
        }
    }
}

#[test]
fn a_clean_stop_keeps_everything_and_the_engine() {
    // Proves that restarts continue with the same state, a higher term, and nothing rebuilt.
    let home = Home::new();
    let mut term = 0;
    for life in 0..4 {
        process().block_on(async {
            let node = home.start().await.unwrap();
            check(&node, life, 20);
            assert!(node.status().term > term, "each start is an election");
            term = node.status().term;
            live(&node, life, 20).await;
            node.shutdown().await;
        });
    }
    assert_eq!(home.engines.destroyed(), 0);
}

#[test]
fn a_kill_keeps_everything_that_was_acknowledged() {
    // Proves it for the death of the process, which leaves what was written to the system.
    let mut home = Home::new();
    for life in 0..6 {
        let process = process();
        process.block_on(async {
            let node = home.start().await.unwrap();
            check(&node, life, 20);
            live(&node, life, 20).await;
        });
        drop(process);
        home.crash(CrashRule::KeepAll);
    }
}

#[test]
fn a_power_failure_keeps_everything_that_was_acknowledged() {
    // Proves it for the loss of all that was not synced, in every order a disk may choose.
    let mut home = Home::new();
    let rules = [CrashRule::DropAll, CrashRule::Tear { seed: 1 }, CrashRule::Tear { seed: 2 }];
    for life in 0..9 {
        let process = process();
        process.block_on(async {
            let node = home.start().await.unwrap();
            check(&node, life, 20);
            live(&node, life, 20).await;
        });
        home.crash(rules[life % rules.len()]);
        drop(process);
    }
}

#[test]
fn concurrent_writers_survive_power_failures() {
    // Proves that group commit acknowledges nothing before its sync: each writer's acknowledged
    // keys are there after power is cut at a random operation.
    let mut home = Home::new();
    let mut acknowledged: Vec<String> = Vec::new();
    for life in 0..8_u64 {
        let process = process();
        let fs = home.fs.clone();
        let written = process.block_on(async {
            let node = home.start().await.unwrap();
            for key in &acknowledged {
                assert_eq!(get(&node.reader(), key), Some(key.clone()), "life {life}");
            }
            fs.halt_at(fs.operations() + 40 + 7 * life);
            let writers = (0..16).map(|writer| {
                let node = node.clone();
                tokio::spawn(async move {
                    let mut written = Vec::new();
                    loop {
                        let key = format!("{life}-{writer}-{}", written.len());
                        if node.propose(put(&key, &key)).await.is_err() {
                            return written;
                        }
                        written.push(key);
                    }
                })
            });
            let writers: Vec<_> = writers.collect();
            let mut written = Vec::new();
            for writer in writers {
                written.extend(writer.await.unwrap());
            }
            assert!(matches!(node.failed().await, Error::Fatal(_)));
            written
        });
        assert!(!written.is_empty());
        acknowledged.extend(written);
        home.crash(CrashRule::Tear { seed: life });
        drop(process);
    }
}

#[test]
fn a_lost_engine_is_rebuilt() {
    // Proves that the engine carries no promise: emptied, it comes back from the log.
    let home = Home::new();
    for life in 0..3 {
        process().block_on(async {
            let node = home.start().await.unwrap();
            check(&node, life, 20);
            live(&node, life, 20).await;
            node.shutdown().await;
        });
        home.engines.lose();
    }
}

#[test]
fn an_old_engine_catches_up_and_a_foreign_one_is_destroyed() {
    // Proves that the mark decides: behind but of this log is continued, of another log is not.
    let home = Home::new();
    let mut old = None;
    for life in 0..3 {
        process().block_on(async {
            let node = home.start().await.unwrap();
            check(&node, life, 20);
            live(&node, life, 20).await;
            node.shutdown().await;
        });
        old.get_or_insert_with(|| home.engines.copy());
    }
    home.engines.put_back(old.unwrap());
    process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 3, 20);
        node.shutdown().await;
    });
    assert_eq!(home.engines.destroyed(), 0);

    let other = Home::new();
    process().block_on(async {
        let node = other.start().await.unwrap();
        live(&node, 0, 40).await;
        node.shutdown().await;
    });
    home.engines.put_back(other.engines.copy());
    process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 3, 20);
        node.shutdown().await;
    });
    assert_eq!(home.engines.destroyed(), 1);
}

#[test]
fn a_log_that_lost_its_end_after_a_clean_stop_is_refused() {
    // Proves that what was acknowledged is missed even if the log by itself looks whole without it:
    // the engine had it. The line says so, and nothing is thrown away.
    let home = Home::new();
    process().block_on(async {
        let node = home.start().await.unwrap();
        live(&node, 0, 20).await;
        node.shutdown().await;
    });
    let dir = home.config.wal_dir.clone();
    let names = home.fs.read_dir(&dir).unwrap();
    let segment = dir.join(names.iter().rfind(|name| name.ends_with(".wal")).unwrap());
    let mut bytes = home.fs.contents(&segment).unwrap();
    let written = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[written - 512..=written].fill(0);
    home.fs.install(&segment, bytes);
    process().block_on(async {
        let Err(Error::Refused(line)) = home.start().await else { panic!("it started") };
        assert!(line.contains("ends before entry"), "{line}");
        assert!(line.contains("empty data directory"), "{line}");
    });
    assert_eq!(home.engines.destroyed(), 0);
}

#[test]
fn a_failed_sync_stops_the_node() {
    // Proves that after a failed sync nothing is acknowledged any more, and that the message says
    // what to do; the state of before is there at the next start.
    let mut home = Home::new();
    let process = process();
    process.block_on(async {
        let node = home.start().await.unwrap();
        live(&node, 0, 5).await;
        // The write is the next operation, its sync the one after.
        home.fs.fail_at(home.fs.operations() + 1);
        assert!(matches!(node.propose(put("lost", "?")).await.err(), Some(Error::Fatal(_))));
        let Error::Fatal(message) = node.failed().await else { panic!("not fatal") };
        assert!(message.contains("Check the disk"), "{message}");
        let after = node.propose(put("after", "?")).await;
        assert_eq!(after.err(), Some(Error::Fatal(message)));
    });
    drop(process);
    home.crash(CrashRule::DropAll);
    super::home::process().block_on(async {
        let node = home.start().await.unwrap();
        check(&node, 1, 5);
    });
}

#[test]
fn an_engine_that_lost_a_value_is_rebuilt_by_the_next_start() {
    // Proves that the entry which could not be applied is applied then: the mark did not pass it,
    // and the engine that opens without complaint is not trusted again.
    let mut home = Home::new();
    home.config.store.value_cache_bytes = 0;
    process().block_on(async {
        let node = home.start().await.unwrap();
        let revision = write(&node, "a", "1").await.revision;
        node.shutdown().await;

        let node = home.start().await.unwrap();
        home.engines.lose_value(revision);
        let keep = PutRequest { key: "a".into(), ignore_value: true, ..PutRequest::default() };
        let keep = Command { op: Some(Op::Put(keep)), ..Command::default() };
        assert!(matches!(node.propose(keep).await, Err(Error::Fatal(_))));
        node.shutdown().await;

        let node = home.start().await.unwrap();
        assert_eq!(get(&node.reader(), "a"), Some("1".into()));
        assert_eq!(node.reader().revision(), revision + 1);
        node.shutdown().await;
    });
}
