//! `berth ctl lock` and `elect`, in one queue with Debian's etcdctl.

use std::path::PathBuf;

use api::etcdserverpb::{LeaseRevokeRequest, RangeRequest};
use testkit::{Server, bounded, eventually, require, subject};

use crate::tool::{SOON_S, Tool, berth, done, endpoints};

/// Waits until a process has printed as many lines, and returns them.
async fn lines(tool: &Tool, count: usize) -> Vec<String> {
    eventually("lines", SOON_S, async || {
        let log = tool.log();
        let lines: Vec<String> =
            log.lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect();
        if lines.len() >= count { Ok(lines) } else { Err(log) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_by_one_at_a_time() {
    // Proves that etcdctl and berth wait for each other in the order they came, that a command
    // runs with the key and the growing revision, that its failure and wrong words are told, and
    // that who is told to stop while it waits fails.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    let etcdctl = require("etcdctl", "etcd-client");
    let berth_itself = PathBuf::from(env!("CARGO_BIN_EXE_berth"));
    let mut theirs = Tool::start(&etcdctl, &[&endpoints, "lock", "m"]);
    let key = lines(&theirs, 1).await[0].clone();
    assert!(key.starts_with("m/"), "{key}");
    let mut ours = Tool::berth(&["ctl", &endpoints, "lock", "m"]);
    until_waiting(&server, "m/", 2).await;
    let command =
        ["lock", "m", "--", "sh", "-c", "echo $ETCD_LOCK_KEY; echo $ETCD_LOCK_REV; exit 5"];
    let third = [&["ctl", &endpoints], &command[..]].concat();
    let mut third = Tool::berth(&third);
    until_waiting(&server, "m/", 3).await;
    assert!(ours.log().is_empty() && third.log().is_empty(), "both wait");
    for (program, rest) in [(&etcdctl, &[][..]), (&berth_itself, &[]), (&berth_itself, &["true"])] {
        let words = match program == &etcdctl {
            true => vec![&endpoints, "lock", "m"],
            false => vec!["ctl", &endpoints, "lock", "m"],
        };
        let mut leaver = Tool::start(program, &[&words, rest].concat());
        until_waiting(&server, "m/", 4).await;
        assert_eq!(leaver.terminate().await.code(), Some(1), "it had no turn: {}", leaver.log());
        until_waiting(&server, "m/", 3).await;
    }
    theirs.signal("INT");
    theirs.ended().await;
    let printed = lines(&ours, 2).await;
    assert!(printed[0].starts_with("m/") && printed[1].is_empty(), "{printed:?}");
    assert!(third.log().is_empty(), "one still waits");
    assert_eq!(ours.terminate().await.code(), Some(0));
    assert_eq!(third.ended().await.code(), Some(1));
    let printed = lines(&third, 3).await;
    assert!(printed[0].starts_with("m/") && printed[1].parse::<u64>().is_ok(), "{printed:?}");
    assert_eq!(printed[2], "Error: exit status 5");
    let mut last = Tool::start(&etcdctl, &[&endpoints, "lock", "m", "true"]);
    assert_eq!(last.ended().await.code(), Some(0), "nothing is left: {}", last.log());
    assert_eq!(berth(&["ctl", &endpoints, "lock"]).await.code, Some(128));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_until_its_command_has_ended() {
    // Proves that a signal to stop is the command's, and that nobody else has the turn before the
    // command has ended.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let read = || std::fs::read_to_string(file.path()).unwrap();
    let script = format!(
        "trap 'sleep 1; echo end >> {path}; exit 5' TERM; echo begin >> {path}; \
         while :; do sleep 0.05; done"
    );
    let mut first = Tool::berth(&["ctl", &endpoints, "lock", "m", "--", "sh", "-c", &script]);
    let begun = async || (read() == "begin\n").then_some(()).ok_or(first.log());
    eventually("the command runs", SOON_S, begun).await;
    let script = format!("echo second >> {path}");
    let mut second = Tool::berth(&["ctl", &endpoints, "lock", "m", "--", "sh", "-c", &script]);
    until_waiting(&server, "m/", 2).await;
    assert_eq!(first.terminate().await.code(), Some(1));
    assert!(first.log().contains("exit status 5"), "{}", first.log());
    assert_eq!(second.ended().await.code(), Some(0), "{}", second.log());
    assert_eq!(read(), "begin\nend\nsecond\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_when_its_lock_is_lost() {
    // Proves that a command does not go on under a lock that may be somebody else's by now: it is
    // told to end, and killed if it does not care.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    for (script, last_word) in [
        ("trap 'echo told; exit 0' TERM; echo begin; while :; do sleep 0.05; done", "told"),
        ("trap '' TERM; echo begin; while :; do sleep 0.05; done", "begin"),
    ] {
        let args = ["ctl", &endpoints, "lock", "m", "--ttl=3", "--", "sh", "-c", script];
        let mut holder = Tool::berth(&args);
        lines(&holder, 1).await;
        let clients = server.clients();
        let found = done(clients.clone().kv.range(keys_under("m/"))).await;
        if let Some(held) = found.kvs.first() {
            // Unless its time has run out by now, which is as good.
            let revoke = LeaseRevokeRequest { id: held.lease };
            let _ = bounded(clients.lease.clone().lease_revoke(revoke)).await;
        }
        assert_eq!(holder.ended().await.code(), Some(1), "{}", holder.log());
        let log = holder.log();
        assert!(log.contains("Error: session expired"), "{log}");
        let words: Vec<&str> = log.lines().filter(|line| line.split(' ').count() == 1).collect();
        assert_eq!(words.last(), Some(&last_word), "{log}");
    }
}

/// Waits until so many hold a turn or wait for it.
async fn until_waiting(server: &Server, prefix: &str, count: usize) {
    let clients = server.clients();
    let queue = async || match done(clients.clone().kv.range(keys_under(prefix))).await.kvs.len() {
        found if found == count => Ok(()),
        found => Err(format!("{found} keys, not {count}")),
    };
    eventually("the queue", SOON_S, queue).await;
}

fn keys_under(prefix: &str) -> RangeRequest {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix") += 1;
    RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_has_one_leader_that_all_observe() {
    // Proves that candidates lead in the order they came, that one that is told to stop is followed
    // by the next at once, and that etcdctl and berth observe the same.
    let server = Server::start(subject!(), &[]).await;
    let endpoints = endpoints(&server);
    let etcdctl = require("etcdctl", "etcd-client");
    let mut first = Tool::berth(&["ctl", &endpoints, "elect", "e", "one"]);
    assert_eq!(lines(&first, 2).await[1], "one");
    let ours = Tool::berth(&["ctl", &endpoints, "elect", "-l", "e"]);
    let theirs = Tool::start(&etcdctl, &[&endpoints, "elect", "-l", "e"]);
    assert_eq!(lines(&ours, 2).await[1], "one");
    assert_eq!(lines(&theirs, 2).await[1], "one");
    let second = Tool::start(&etcdctl, &[&endpoints, "elect", "e", "two"]);
    until_waiting(&server, "e/", 2).await;
    assert!(second.log().is_empty(), "it waits");
    let mut leaver = Tool::berth(&["ctl", &endpoints, "elect", "e", "three"]);
    until_waiting(&server, "e/", 3).await;
    assert_eq!(leaver.terminate().await.code(), Some(1), "{}", leaver.log());
    until_waiting(&server, "e/", 2).await;
    assert_eq!(first.terminate().await.code(), Some(0));
    assert_eq!(lines(&second, 2).await[1], "two");
    assert_eq!(lines(&ours, 4).await[3], "two");
    assert_eq!(lines(&theirs, 4).await[3], "two");
    for wrong in [&["e"][..], &["e", "p", "-l"], &["e", "p", "q"]] {
        let refused = berth(&[&["ctl", &endpoints, "elect"], wrong].concat()).await;
        assert_eq!(refused.code, Some(128), "{refused:?}");
    }
}
