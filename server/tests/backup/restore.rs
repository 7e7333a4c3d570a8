//! `berth snapshot status` and `berth snapshot restore` of what Debian's etcdctl saved.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::etcdserverpb::{
    AuthUserAddRequest, AuthUserListRequest, CompactionRequest, HashKvRequest, LeaseGrantRequest,
    LeaseTimeToLiveRequest, MemberListRequest, PutRequest, StatusRequest,
};
use futures::future::join_all;
use rand::Rng;
use testkit::{Clients, Server, bounded, subject};

use crate::tool::{TOOLS, berth, cluster_flags, done, everything, put, restore_args, save, watch};

const LEASE: i64 = 77;
const LEASE_TTL_S: i64 = 3_600;

/// How often a restore is killed.
const KILLS: u64 = 8;

/// Writes until told to stop.
async fn write_on(clients: Clients, stop: Arc<AtomicBool>) {
    for n in 0..1_000_000_u64 {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let lease = if n.is_multiple_of(7) { LEASE } else { 0 };
        put(&clients, format!("k{}", n % 50), vec![b'v'; 100], lease).await;
    }
}

/// A server with a lease and a user that has been written to, and goes on being so while a backup
/// is saved to `dir`.
async fn saved_under_writes(dir: &Path) -> (Server, PathBuf) {
    let server = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let clients = server.clients();
    let lease = LeaseGrantRequest { id: LEASE, ttl: LEASE_TTL_S };
    done(clients.clone().lease.lease_grant(lease)).await;
    let user = AuthUserAddRequest { name: "u".into(), password: "p".into(), ..Default::default() };
    done(clients.clone().auth.user_add(user)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..4).map(|_| tokio::spawn(write_on(server.clients(), stop.clone()))).collect();
    let mut revision = 0;
    while revision < 500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        revision = everything(&clients, 0).await.1;
    }
    let compaction = CompactionRequest { revision: revision - 100, physical: false };
    done(clients.clone().kv.compact(compaction)).await;
    let file = save(&server, dir).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no writer fails");
    }
    (server, file)
}

/// The revision in a backup, as `berth snapshot status` prints it.
async fn revision_of(file: &Path) -> i64 {
    let status = berth(&["snapshot", "status", &file.to_string_lossy(), "-w", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    status["revision"].as_i64().expect("a revision")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_writes_comes_back_as_it_was() {
    // Proves that a restored server has every key as the old one had it at the backup's revision,
    // with lease and user, is another cluster, and keeps it all over a kill and a restart.
    let temp = tempfile::tempdir().unwrap();
    let (old, file) = saved_under_writes(temp.path()).await;
    let revision = revision_of(&file).await;
    let (expected, last) = everything(&old.clients(), revision).await;
    assert!(revision <= last && expected.len() == 50, "{revision} of {last}");

    let mut new = Server::create(subject!(), &[]);
    let restored = berth(&restore_args(&file, &new)).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    for _ in 0..2 {
        new.restart().await;
        assert_eq!(everything(&new.clients(), 0).await, (expected.clone(), revision));
        new.kill();
    }
    new.restart().await;
    let clients = new.clients();
    let lease = LeaseTimeToLiveRequest { id: LEASE, keys: true };
    let lease = done(clients.clone().lease.lease_time_to_live(lease)).await;
    let attached = expected.iter().filter(|kv| kv.lease == LEASE).count();
    assert_eq!((lease.granted_ttl, lease.keys.len()), (LEASE_TTL_S, attached));
    let users = done(clients.clone().auth.user_list(AuthUserListRequest {})).await;
    assert_eq!(users.users, ["u"]);
    assert_eq!(put(&clients, "k0".into(), b"new".to_vec(), 0).await, revision + 1);

    let members = |clients: Clients| async move {
        let list = MemberListRequest { linearizable: true };
        let list = done(clients.clone().cluster.member_list(list)).await;
        let urls = list.members.iter().flat_map(|member| member.client_urls.clone());
        (list.header.unwrap().cluster_id, urls.collect::<Vec<_>>())
    };
    let (new_cluster, new_urls) = members(clients).await;
    assert_ne!(new_cluster, members(old.clients()).await.0);
    assert_eq!(new_urls, [new.endpoint()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_of_one_backup_are_a_cluster() {
    // Proves that three processes, each restored by itself from the same file, form a cluster with
    // all that was saved, go on writing, and survive the loss of their first leader; one of them
    // restored as etcdctl is told to.
    let temp = tempfile::tempdir().unwrap();
    let (old, file) = saved_under_writes(temp.path()).await;
    let revision = revision_of(&file).await;
    let (expected, _) = everything(&old.clients(), revision).await;
    let mut members: Vec<Server> = (0..3).map(|_| Server::create(subject!(), &[])).collect();
    for at in 0..3 {
        let flags = cluster_flags(&members, at);
        let data_dir = format!("--data-dir={}", members[at].data_dir().display());
        let tool = TOOLS[at % TOOLS.len()];
        let mut args: Vec<String> = tool.iter().map(ToString::to_string).collect();
        args.extend(["restore".into(), file.display().to_string()]);
        args.extend(flags.iter().cloned().chain([data_dir]));
        let restored = berth(&args).await;
        assert_eq!(restored.code, Some(0), "{restored:?}");
        // The first two start with the flags of the restore, the last with those for addresses.
        if at < 2 {
            members[at].add_flags(&flags);
        }
    }
    join_all(members.iter_mut().map(Server::restart)).await;
    for member in &members {
        assert_eq!(everything(&member.clients(), 0).await, (expected.clone(), revision));
    }
    let list = MemberListRequest { linearizable: true };
    let list = done(members[0].clients().cluster.member_list(list)).await.members;
    let ids: HashSet<u64> = list.iter().map(|member| member.id).collect();
    assert_eq!(ids.len(), 3, "{list:?}");
    assert!(list.iter().all(|member| member.client_urls.len() == 1), "{list:?}");

    let leader = leader(&members).await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    assert_eq!(put(&members[first].clients(), "k0".into(), vec![1], 0).await, revision + 1);
    members[leader].kill();
    wait_for_writes(&members[second]).await;
    members[leader].restart().await;
    let (_, last) = everything(&members[first].clients(), 0).await;
    let mut hashes = HashSet::new();
    for member in &members {
        everything(&member.clients(), 0).await;
        let hash = HashKvRequest { revision: last };
        hashes.insert(done(member.clients().maintenance.hash_kv(hash)).await.hash);
    }
    assert_eq!(hashes.len(), 1, "{hashes:?}");
}

/// Which of `members` leads.
async fn leader(members: &[Server]) -> usize {
    for (at, member) in members.iter().enumerate() {
        let status = done(member.clients().maintenance.status(StatusRequest::default())).await;
        if status.leader == status.header.expect("a header").member_id {
            return at;
        }
    }
    panic!("nobody leads");
}

/// Returns when a write at `server` has succeeded again.
async fn wait_for_writes(server: &Server) {
    for _ in 0..300 {
        let request = PutRequest { key: "k1".into(), ..PutRequest::default() };
        if bounded(server.clients().kv.put(request)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no write succeeds:\n{}", server.log_tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bumped_revision_ends_the_watches_of_the_old_cluster() {
    // Proves that who comes back with a revision of the old cluster, even a later one than the
    // backup has, is told that it was compacted, and that nothing else was lost.
    let temp = tempfile::tempdir().unwrap();
    let (old, file) = saved_under_writes(temp.path()).await;
    let revision = revision_of(&file).await;
    let last = put(&old.clients(), "late".into(), vec![1], 0).await;
    assert!(last > revision);
    let mut new = Server::create(subject!(), &[]);
    let mut args = restore_args(&file, &new);
    args.extend(["--bump-revision=1000000".into(), "--mark-compacted".into()]);
    let restored = berth(&args).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    new.restart().await;
    let (now, bumped) = everything(&new.clients(), 0).await;
    assert_eq!(now, everything(&old.clients(), revision).await.0);
    assert_eq!(bumped, revision + 1_000_000);

    let mut answers = watch(&new.clients(), b"k0".to_vec(), last + 1).await;
    let canceled = loop {
        let answer = bounded(answers.message()).await.unwrap().unwrap();
        if answer.canceled {
            break answer;
        }
    };
    assert_eq!(canceled.compact_revision, bumped);
    assert_eq!(put(&new.clients(), "k0".into(), vec![2], 0).await, bumped + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_restore_leaves_nothing_that_looks_complete() {
    // Proves that after a SIGKILL at any moment the directory is either not there, and no server
    // starts in its place, or complete; and that the next restore succeeds.
    let temp = tempfile::tempdir().unwrap();
    let old = Server::start(subject!(), &[]).await;
    for n in 0..48 {
        put(&old.clients(), format!("large{n}"), vec![n; 1 << 20], 0).await;
    }
    let file = save(&old, temp.path()).await;
    let expected = everything(&old.clients(), 0).await;
    let mut unfinished = 0;
    for _ in 0..KILLS {
        let new = Server::create(subject!(), &[]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(restore_args(&file, &new))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // From its first file on.
        while child.try_wait().unwrap().is_none() && !staging(&new).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..150))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += u64::from(finish(&file, new, &expected).await);
    }
    println!("{unfinished} of {KILLS} restores were cut short");
    assert!(unfinished > 0, "every restore was faster than its kill");
}

fn staging(server: &Server) -> PathBuf {
    server.data_dir().with_file_name("data.restoring")
}

/// Checks what a killed restore left and restores again if there is nothing; whether it was so.
async fn finish(
    file: &Path,
    mut new: Server,
    expected: &(Vec<api::mvccpb::KeyValue>, i64),
) -> bool {
    let data = new.data_dir();
    let was_unfinished = !data.exists();
    let staging = staging(&new);
    if staging.join("restore.lock").exists() {
        let flag = format!("--data-dir={}", data.display());
        let refused = berth(&["serve".to_owned(), flag]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let log = refused.stdout + &refused.stderr;
        assert!(log.contains("did not come to its end"), "{log}");
        assert!(!data.join("wal").exists());
    }
    if was_unfinished {
        let restored = berth(&restore_args(file, &new)).await;
        assert_eq!(restored.code, Some(0), "{restored:?}");
    }
    assert!(!staging.exists());
    new.restart().await;
    assert_eq!(&everything(&new.clients(), 0).await, expected);
    was_unfinished
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_restored_is_refused_with_its_cause() {
    // Proves that each wrong input ends with its own message and status, and writes nothing, however
    // the tool is called.
    let temp = tempfile::tempdir().unwrap();
    let old = Server::start(subject!(), &[]).await;
    put(&old.clients(), "k".into(), vec![b'v'; 10_000], 0).await;
    let file = save(&old, temp.path()).await;
    let good = fs::read(&file).unwrap();
    let bad = |name: &str, bytes: &[u8]| {
        let path = temp.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let cut = bad("cut", &good[..good.len() / 2]);
    let mut bytes = good.clone();
    bytes[good.len() / 2] ^= 1;
    let tampered = bad("tampered", &bytes);
    let mut bytes = good.clone();
    bytes[good.len() - 1] ^= 1;
    let rehashed = bad("rehashed", &bytes);
    let full = temp.path().join("full");
    fs::create_dir_all(full.join("something")).unwrap();
    let into = temp.path().join("into");
    fs::create_dir(&into).unwrap();

    let refuse = async |file: &Path, flags: &[&str], code: i32, cause: &str| {
        for tool in TOOLS {
            let mut args: Vec<String> = tool.iter().map(ToString::to_string).collect();
            args.extend(["restore".to_owned(), file.display().to_string()]);
            if !flags.iter().any(|flag| flag.starts_with("--data-dir")) {
                args.push(format!("--data-dir={}", into.join("data").display()));
            }
            args.extend(flags.iter().map(ToString::to_string));
            let refused = berth(&args).await;
            assert_eq!(refused.code, Some(code), "{args:?}: {refused:?}");
            assert!(refused.stderr.contains(cause), "{args:?}: {refused:?}");
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{args:?}");
        }
    };
    let to_full = format!("--data-dir={}", full.display());
    refuse(&file, &[&to_full], 1, "is not empty").await;
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let wal_full = format!("--wal-dir={}", full.display());
    refuse(&file, &[&wal_full], 1, "--wal-dir").await;
    refuse(&cut, &[], 1, "is cut short").await;
    refuse(&tampered, &[], 1, "checksum of a block is wrong").await;
    refuse(&rehashed, &[], 1, "hash mismatch").await;
    refuse(Path::new("/nonexistent"), &[], 1, "/nonexistent cannot be read").await;
    let cluster = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2";
    refuse(&file, &[cluster], 1, "couldn't find local name \"default\"").await;
    let other_url = "--initial-advertise-peer-urls=http://127.0.0.1:3";
    refuse(&file, &["--name=a", cluster, other_url], 1, "http://127.0.0.1:3 but missing").await;
    refuse(&file, &["--initial-cluster=nonsense"], 1, "incorrect entry").await;
    refuse(&file, &["--bump-revision=5"], 128, "--mark-compacted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_what_is_in_a_file() {
    // Proves the formats, the same however the tool is called, and that a damaged file has no status.
    let temp = tempfile::tempdir().unwrap();
    let old = Server::start(subject!(), &[]).await;
    let revision = put(&old.clients(), "k".into(), vec![b'v'; 10_000], 0).await;
    let file = save(&old, temp.path()).await;
    let status = async |format: &str| {
        let name = file.to_string_lossy();
        let words = ["status", &*name, "-w", format];
        let [own, etcdctls] = TOOLS.map(|tool| [tool, &words].concat());
        let (own, etcdctls) = (berth(&own).await, berth(&etcdctls).await);
        assert_eq!((own.code, &own.stdout), (etcdctls.code, &etcdctls.stdout));
        own
    };
    let json: serde_json::Value = serde_json::from_str(&status("json").await.stdout).unwrap();
    assert_eq!(json["revision"], revision);
    assert_eq!(json["totalSize"], fs::metadata(&file).unwrap().len());
    let hash = format!("{:x}", json["hash"].as_u64().unwrap());
    let keys = json["totalKey"].as_u64().unwrap();
    let simple = status("simple").await.stdout;
    assert_eq!(simple, format!("{hash}, {revision}, {keys}, 11 kB\n"));
    let fields = status("fields").await.stdout;
    let size = fs::metadata(&file).unwrap().len();
    let said = format!(
        "\"Hash\" : {}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\"Size\" : {size}\n",
        json["hash"]
    );
    assert_eq!(fields, said);
    let table = status("table").await.stdout;
    // The width of a column follows the hash, which has no leading zeros.
    let header = table.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(header, "| HASH | REVISION | TOTAL KEYS | TOTAL SIZE |", "{table}");
    assert!(table.contains(&format!("| {hash} |")), "{table}");

    let mut bytes = fs::read(&file).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = status("json").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is damaged"), "{refused:?}");
}
