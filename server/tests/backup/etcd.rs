//! From etcd and back: `berth snapshot import` of what Debian's etcd saved, and `berth snapshot
//! export` to what Debian's etcdctl restores.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, LeaseGrantRequest};
use api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use serde_json::Value;
use testkit::{Clients, Program, Server, subject};

use crate::tool::{TOOLS, berth, done, etcdctl, everything, put, restore_args, save};

const LEASE: i64 = 77;
/// Below zero, as some clients make them: they sort behind all others in etcd's file.
const OTHER_LEASE: i64 = -5;
const ROOT: &str = "--user=root:rootpw";

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put_op(key: String, value: Vec<u8>) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    }))
}

async fn txn(clients: &Clients, success: Vec<RequestOp>) -> i64 {
    let request = TxnRequest { success, ..TxnRequest::default() };
    done(clients.clone().kv.txn(request)).await.header.expect("a header").revision
}

/// Fills a server with all there is: thousands of keys, values of many pages, several writes in one
/// revision, deletions, leases, a compaction in the middle, users and permissions, and auth on. The
/// compacted and the last revision are the answer.
async fn fill(server: &Server) -> (i64, i64) {
    let clients = server.clients();
    for id in [LEASE, OTHER_LEASE] {
        done(clients.clone().lease.lease_grant(LeaseGrantRequest { id, ttl: 3_600 })).await;
    }
    for batch in 0..30 {
        let puts = (0..100).map(|n| put_op(format!("bulk/{batch:02}/{n:03}"), vec![b'b'; n]));
        txn(&clients, puts.collect()).await;
    }
    put(&clients, "large".into(), vec![7; 300_000], 0).await;
    let mut last = 0;
    for round in 0..40_u8 {
        let lease = [0, LEASE, OTHER_LEASE][usize::from(round % 3)];
        put(&clients, format!("k{}", round % 9), vec![round; 50], lease).await;
        let delete = DeleteRangeRequest {
            key: format!("bulk/{round:02}/").into(),
            range_end: format!("bulk/{round:02}/050").into(),
            ..DeleteRangeRequest::default()
        };
        let delete = op(Request::RequestDeleteRange(delete));
        let again = put_op(format!("bulk/{round:02}/x"), Vec::new());
        last = txn(&clients, vec![delete, again, put_op("last".into(), vec![round])]).await;
    }
    let revision = last - 30;
    let compaction = CompactionRequest { revision, physical: true };
    done(clients.clone().kv.compact(compaction)).await;
    for args in [
        &["role", "add", "r"][..],
        &["role", "grant-permission", "r", "readwrite", "k", "--prefix=true"],
        &["role", "grant-permission", "r", "read", "last"],
        &["user", "add", "u:pw"],
        &["user", "grant-role", "u", "r"],
        &["user", "add", "root:rootpw"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        let run = etcdctl(server, args).await;
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    (revision, last)
}

/// All that a client sees of a server that was filled: what is in it at every revision, leases with
/// their keys, roles of users, permissions of roles.
async fn seen(server: &Server, (compacted, last): (i64, i64)) -> Vec<Value> {
    let mut found = Vec::new();
    for revision in compacted..=last {
        let revision = format!("--rev={revision}");
        let all = ["get", "", "--from-key", &revision, "-w=json", ROOT];
        found.push(json(server, &all).await["kvs"].take());
    }
    let lease = format!("{LEASE:x}");
    let lease = json(server, &["lease", "timetolive", &lease, "--keys", "-w=json", ROOT]).await;
    // etcd has them in no order.
    let keys: BTreeSet<&str> =
        lease["keys"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    found.extend([lease["granted-ttl"].clone(), keys.into_iter().collect()]);
    let mut leases = json(server, &["lease", "list", "-w=json", ROOT]).await["leases"].take();
    let leases = leases.as_array_mut().expect("a list");
    leases.sort_by_key(|lease| lease["id"].as_i64());
    found.push(leases.iter().cloned().collect());
    found.push(json(server, &["user", "get", "u", "-w=json", ROOT]).await["roles"].take());
    found.push(json(server, &["role", "get", "r", "-w=json", ROOT]).await["perm"].take());
    found
}

/// One by one: all of it would fill pages.
fn same(found: Vec<Value>, expected: Vec<Value>) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.into_iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

async fn json(server: &Server, args: &[&str]) -> Value {
    let run = etcdctl(server, args).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// What only a server that lives can show: who may do what, and that it goes on.
async fn goes_on(server: &Server, (compacted, last): (i64, i64)) {
    let user = "--user=u:pw";
    let written = json(server, &["put", "k1", "new", "-w=json", user]).await;
    assert_eq!(written["header"]["revision"], last + 1);
    for refused in [
        &["put", "last", "x", user][..],
        &["get", "large", user],
        &["get", "k1", "--user=u:wrong"],
        &["get", "k1"],
    ] {
        assert_ne!(etcdctl(server, refused).await.code, Some(0), "{refused:?}");
    }
    let before = format!("--rev={}", compacted - 1);
    let gone = etcdctl(server, &["get", "k1", &before, ROOT]).await;
    assert!(gone.stderr.contains("required revision has been compacted"), "{gone:?}");
}

async fn save_as_root(server: &Server, file: &str) {
    let saved = etcdctl(server, &["snapshot", "save", file, ROOT]).await;
    assert_eq!(saved.code, Some(0), "{saved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_etcd_is_imported_with_all_that_is_in_it() {
    // Proves that berth shows what the real etcd showed, at every revision that is not compacted,
    // with leases, users, passwords and permissions, and goes on from there; and that it says of
    // the file what etcdctl says.
    let temp = tempfile::tempdir().unwrap();
    let (file, backup) = (temp.path().join("etcd.db"), temp.path().join("backup"));
    let (file, backup) = (file.to_str().unwrap(), backup.to_str().unwrap());
    let old = Server::start(Program::etcd(), &[]).await;
    let revisions = fill(&old).await;
    save_as_root(&old, file).await;
    for format in ["simple", "json", "fields", "table"] {
        let expected = etcdctl(&old, &["snapshot", "status", file, "-w", format]).await;
        for tool in TOOLS {
            let told = berth(&[tool, &["status", file, "-w", format]].concat()).await;
            assert_eq!(told.stdout, expected.stdout);
        }
    }

    let imported = berth(&["snapshot", "import", file, "--out", backup]).await;
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let mut new = Server::create(subject!(), &[]);
    let restored = berth(&restore_args(Path::new(backup), &new)).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    new.restart().await;
    same(seen(&new, revisions).await, seen(&old, revisions).await);
    goes_on(&new, revisions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_restores_what_was_exported() {
    // Proves the way back: Debian's etcdctl restores the file, and the real etcd on it shows what
    // berth showed and goes on.
    let temp = tempfile::tempdir().unwrap();
    let (backup, file) = (temp.path().join("backup"), temp.path().join("etcd.db"));
    let (backup, file) = (backup.to_str().unwrap(), file.to_str().unwrap());
    let old = Server::start(subject!(), &[]).await;
    let revisions = fill(&old).await;
    save_as_root(&old, backup).await;
    let exported = berth(&["snapshot", "export", backup, "--format=etcd", "--out", file]).await;
    assert_eq!(exported.code, Some(0), "{exported:?}");

    let mut new = Server::create(Program::etcd(), &[]);
    // etcdctl takes the flags of berth.
    let args = restore_args(Path::new(file), &new);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let restored = etcdctl(&new, &args).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    new.restart().await;
    same(seen(&new, revisions).await, seen(&old, revisions).await);
    goes_on(&new, revisions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_exports_is_told_what_stays_behind() {
    // Proves that keys of the v2 API are not lost in silence: etcd's format has no place for them,
    // and the export says how many there are; without any it says nothing.
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(subject!(), &["--enable-v2"]).await;
    put(&server.clients(), "k".into(), vec![1], 0).await;
    for (name, nodes) in [("without", None), ("with", Some("3 keys and directories of the v2"))] {
        let dir = temp.path().join(name);
        fs::create_dir(&dir).unwrap();
        if nodes.is_some() {
            for key in ["a", "b"] {
                let endpoint = format!("--endpoints={}", server.endpoint());
                let args = [&endpoint, "set", &format!("/dir/{key}"), "v"];
                let etcdctl = testkit::require("etcdctl", "etcd-client");
                let set = testkit::Script::new(&etcdctl, &args).env("ETCDCTL_API", "2").run().await;
                assert_eq!(set.code, Some(0), "{set:?}");
            }
        }
        let backup = save(&server, &dir).await;
        let file = dir.join("etcd.db");
        let (backup, file) = (backup.to_str().unwrap(), file.to_str().unwrap());
        let exported = berth(&["snapshot", "export", backup, "--out", file]).await;
        assert_eq!(exported.code, Some(0), "{exported:?}");
        match nodes {
            Some(nodes) => assert!(exported.stderr.contains(nodes), "{exported:?}"),
            None => assert_eq!(exported.stderr, "", "{exported:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_empty_stays_empty_there_and_back() {
    // Proves that a store without keys keeps its revision through both formats: a fresh one, and
    // one where everything was deleted and compacted.
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(subject!(), &[]).await;
    for (name, revision) in [("fresh", 1), ("compacted", 3)] {
        let dir = temp.path().join(name);
        fs::create_dir(&dir).unwrap();
        if revision > 1 {
            let clients = server.clients();
            put(&clients, "k".into(), vec![1], 0).await;
            let delete = DeleteRangeRequest { key: "k".into(), ..Default::default() };
            done(clients.clone().kv.delete_range(delete)).await;
            let compaction = CompactionRequest { revision, physical: true };
            done(clients.clone().kv.compact(compaction)).await;
        }
        let backup = save(&server, &dir).await;
        let (file, again) = (dir.join("etcd.db"), dir.join("again"));
        let (file, again) = (file.to_str().unwrap(), again.to_str().unwrap());
        let backup = backup.to_str().unwrap();
        let exported = berth(&["snapshot", "export", backup, "--out", file]).await;
        assert_eq!(exported.code, Some(0), "{exported:?}");
        let imported = berth(&["snapshot", "import", file, "--out", again]).await;
        assert_eq!(imported.code, Some(0), "{imported:?}");
        let mut new = Server::create(subject!(), &[]);
        let restored = berth(&restore_args(Path::new(again), &new)).await;
        assert_eq!(restored.code, Some(0), "{restored:?}");
        new.restart().await;
        assert_eq!(everything(&new.clients(), 0).await, (Vec::new(), revision));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_snapshot_is_refused_with_its_cause() {
    // Proves that whatever is wrong with the file is named, and that nothing is left behind then.
    let temp = tempfile::tempdir().unwrap();
    let etcd = Server::start(Program::etcd(), &[]).await;
    put(&etcd.clients(), "k".into(), vec![b'v'; 20_000], 0).await;
    let good = save(&etcd, temp.path()).await;
    let bytes = fs::read(&good).unwrap();
    let own = Server::start(subject!(), &[]).await;
    let dir = temp.path().join("own");
    fs::create_dir(&dir).unwrap();
    let own = save(&own, &dir).await;
    let out = temp.path().join("out");
    fs::create_dir(&out).unwrap();
    let out = out.join("file");

    let make = |name: &str, bytes: &[u8]| {
        let path = temp.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut flipped = bytes.clone();
    flipped[9_000] ^= 1;
    let mut no_tree = bytes.clone();
    // The kind of every page but the first two.
    no_tree.chunks_mut(4096).skip(2).filter(|page| page.len() == 4096).for_each(|page| {
        page[8] = 9;
    });
    let mut beheaded = bytes.clone();
    beheaded[..8192].fill(0);
    let half = make("half", &bytes[..bytes.len() / 2 / 4096 * 4096]);
    let cases: [(&str, &Path, &[&str], &str); 9] = [
        ("import", &make("cut", &bytes[..bytes.len() - 40]), &[], "no SHA-256 at its end"),
        ("import", &half, &["--skip-hash-check"], "cut short"),
        ("import", &make("flipped", &flipped), &[], "hash mismatch"),
        ("import", &make("tree", &no_tree), &["--skip-hash-check"], "neither branch nor leaf"),
        ("import", &make("head", &beheaded), &["--skip-hash-check"], "no valid meta page"),
        ("import", &make("none", b"nothing"), &["--skip-hash-check"], "no valid meta page"),
        ("import", &own, &[], "no valid meta page"),
        ("import", Path::new("/nonexistent"), &[], "/nonexistent cannot be read"),
        ("export", &good, &[], "is a snapshot of etcd"),
    ];
    for (verb, file, flags, cause) in cases {
        let args = ["snapshot", verb, file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let args: Vec<&str> = args.iter().chain(flags).copied().collect();
        let refused = berth(&args).await;
        assert_eq!(refused.code, Some(1), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains(cause), "{args:?}: {refused:?}");
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0, "{args:?}");
    }
    fs::write(&out, "kept").unwrap();
    let args = ["snapshot", "import", good.to_str().unwrap(), "--out", out.to_str().unwrap()];
    assert!(berth(&args).await.stderr.contains("exists"));
    assert_eq!(fs::read(&out).unwrap(), b"kept");
}
