//! `berth mirror` between etcd and berth, cut off in every way.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use testkit::{Clients, Program, Server, enable_auth, env_number, subject};

use crate::tool::{berth, done, everything, put, watch_from};

/// How often a mirror, or the server it writes to, is killed.
const KILLS: u64 = 6;

/// The longest that a mirror is waited for, on a machine that is busy.
const CATCH_UP_S_MAX: u64 = 90;

/// Where each mirror's checkpoint is.
const CHECKPOINT: &str = "checkpoint";

/// A mirror as a process; killed when dropped.
struct Mirror {
    args: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Mirror {
    fn start(from: &Server, to: &Server, flags: &[&str]) -> Self {
        let mut args = vec![
            "mirror".to_owned(),
            format!("--from={}", from.endpoint()),
            format!("--to={}", to.endpoint()),
            format!("--checkpoint-key={CHECKPOINT}"),
            "--report-interval=200ms".to_owned(),
        ];
        args.extend(flags.iter().map(ToString::to_string));
        let mut mirror =
            Self { args, directory: TempDir::new().expect("a temporary directory"), child: None };
        mirror.restart();
        mirror
    }

    fn restart(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("the log opens");
        let child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("berth starts"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// SIGTERM, and the status it ends with.
    fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("the mirror runs");
        let signal = format!("kill -TERM {}", child.id());
        Command::new("sh").args(["-c", &signal]).status().expect("sh runs");
        child.wait().expect("our own child can be waited for").code()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).expect("the log can be read")
    }

    /// The end of the log, for failure messages.
    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Returns once the log has `text`.
    async fn says(&self, text: &str) {
        wait_until(|| async { self.log().contains(text) }, || self.log_tail()).await;
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn wait_until<F: Future<Output = bool>>(is_so: impl Fn() -> F, failure: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(CATCH_UP_S_MAX);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{}", failure());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

type Copy = Vec<(String, Vec<u8>, i64)>;

/// Keys, values and versions at a server, without the checkpoint.
async fn contents(server: &Server) -> Copy {
    let (kvs, _) = everything(&server.clients(), 0).await;
    let named = kvs
        .into_iter()
        .map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.value.to_vec(), kv.version));
    named.filter(|(key, ..)| key != CHECKPOINT).collect()
}

fn without_versions(copy: Copy) -> Vec<(String, Vec<u8>)> {
    copy.into_iter().map(|(key, value, _)| (key, value)).collect()
}

/// Waits until both sides hold the same, versions (`exactly`) included.
async fn equal(from: &Server, to: &Server, mirror: &Mirror, exactly: bool) {
    let of = async |server| {
        let copy = contents(server).await;
        if exactly { copy } else { copy.into_iter().map(|(k, v, _)| (k, v, 0)).collect() }
    };
    let is_so = || async { of(from).await == of(to).await };
    let (expected, found) = (of(from).await, of(to).await);
    let failure = || format!("{expected:?}\nis not\n{found:?}\n{}", mirror.log_tail());
    wait_until(is_so, failure).await;
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put_op(key: String, value: &str) -> RequestOp {
    let (key, value) = (key.into(), value.to_owned().into());
    op(Request::RequestPut(PutRequest { key, value, ..PutRequest::default() }))
}

fn delete_op(key: String) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into(),
        ..DeleteRangeRequest::default()
    }))
}

async fn txn(clients: &Clients, success: Vec<RequestOp>) {
    let txn = TxnRequest { success, ..TxnRequest::default() };
    done(clients.clone().kv.txn(txn)).await;
}

/// Puts, deletes and transactions over few keys until told to stop; how many revisions it made.
async fn load(clients: Clients, seed: u64, stop: Arc<AtomicBool>) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    for n in 0..1_000_000_u64 {
        if stop.load(Ordering::Relaxed) {
            return n;
        }
        let mut key = || format!("k{}", random.random_range(0..40));
        match n % 5 {
            0 => txn(&clients, vec![delete_op(key())]).await,
            1 => {
                let first = random.random_range(0..20);
                let others = (0..3).map(|n| put_op(format!("k{}", first + n), "transaction"));
                let gone = delete_op(format!("k{}", first + 10));
                txn(&clients, others.chain([gone]).collect()).await;
            }
            _ => {
                put(&clients, key(), format!("{seed}-{n}").into(), 0).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_when_either_end_is_killed() {
    // Proves that after kills of the mirror and of the destination under load, and with a second
    // mirror that should not be there, every key has its last value and as many versions as at the
    // source: each write was done there exactly once.
    let seed = env_number("BERTH_MIRROR_SEED", 1);
    let from = Server::start(Program::etcd(), &[]).await;
    let mut to = Server::start(subject!(), &[]).await;
    let mut mirror = Mirror::start(&from, &to, &[]);
    mirror.says("everything is copied").await;
    let intruder = Mirror::start(&from, &to, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> =
        (0..3).map(|n| tokio::spawn(load(from.clients(), seed * 3 + n, stop.clone()))).collect();
    let mut random = StdRng::seed_from_u64(seed);
    for kill in 0..env_number("BERTH_MIRROR_KILLS", KILLS) {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
        if kill % 3 == 2 {
            to.kill();
            tokio::time::sleep(Duration::from_millis(100)).await;
            to.restart().await;
        } else {
            mirror.kill();
            mirror.restart();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut revisions = 0;
    for load in loads {
        revisions += load.await.unwrap();
    }
    equal(&from, &to, &mirror, true).await;
    drop(intruder);
    let copies = mirror.log().matches("copying everything").count();
    assert_eq!(copies, 1, "only the first start copied everything:\n{}", mirror.log());
    println!("seed {seed}: about {revisions} revisions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_source_is_copied_again() {
    // Proves that a mirror whose revision was compacted meanwhile copies everything anew, with keys
    // removed that are gone, and then follows on; and that a copy that was killed is done again.
    let from = Server::start(Program::etcd(), &[]).await;
    let to = Server::start(subject!(), &[]).await;
    let clients = from.clients();
    for n in 0..300 {
        put(&clients, format!("k{n:03}"), vec![b'v'; 10_000], 0).await;
    }
    let mut mirror = Mirror::start(&from, &to, &[]);
    equal(&from, &to, &mirror, true).await;
    for round in 0..3_u8 {
        mirror.kill();
        let mut revision = 0;
        for n in 0..100_u32 {
            txn(&clients, vec![delete_op(format!("k{:03}", n * 3 + u32::from(round)))]).await;
            revision = put(&clients, format!("n{n:03}"), vec![round; 10_000], 0).await;
        }
        let compaction = CompactionRequest { revision, physical: true };
        done(clients.clone().kv.compact(compaction)).await;
        put(&clients, "after".into(), vec![round], 0).await;
        mirror.restart();
        // In the middle of it, sometimes.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(20..120))).await;
        mirror.kill();
        mirror.restart();
        equal(&from, &to, &mirror, false).await;
    }
    assert!(mirror.log().matches("copying everything").count() >= 4, "{}", mirror.log());
    put(&clients, "later".into(), vec![2], 0).await;
    equal(&from, &to, &mirror, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_arrives_whole() {
    // Proves that what is one revision at the source is one at the destination, puts and deletes
    // together; and that a larger one than fits comes puts first, and once.
    let from = Server::start(Program::etcd(), &["--max-txn-ops=1000"]).await;
    let to = Server::start(subject!(), &[]).await;
    let clients = from.clients();
    let many = (0..300).map(|n| put_op(format!("old{n:03}"), "1")).collect();
    txn(&clients, many).await;
    let mirror = Mirror::start(&from, &to, &[]);
    equal(&from, &to, &mirror, true).await;
    let start = everything(&to.clients(), 0).await.1 + 1;

    let small = [put_op("a".into(), "1"), put_op("b".into(), "1"), delete_op("old000".into())];
    txn(&clients, small.to_vec()).await;
    let gone = (1..300).map(|n| delete_op(format!("old{n:03}")));
    let come = (0..300).map(|n| put_op(format!("new{n:03}"), "2"));
    txn(&clients, gone.chain(come).collect()).await;
    equal(&from, &to, &mirror, true).await;

    let mut events = watch_from(&to.clients(), start, 3 + 599 + 1 + 5).await;
    events.retain(|(_, key, _)| key != CHECKPOINT);
    let (whole, split) = events.split_at(3);
    let keys: Vec<&str> = whole.iter().map(|(_, key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "old000"]);
    assert!(whole.iter().all(|(revision, ..)| *revision == whole[0].0), "{whole:?}");
    assert_eq!(split.len(), 599);
    let last_put = split.iter().rposition(|(.., is_put)| *is_put).unwrap();
    let first_delete = split.iter().position(|(.., is_put)| !is_put).unwrap();
    assert!(last_put < first_delete);
    let mut revisions: Vec<i64> = split.iter().map(|(revision, ..)| *revision).collect();
    revisions.dedup();
    assert_eq!(revisions.len(), 5, "127 operations in each but the last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_goes_to_another_one_with_credentials() {
    // Proves that only the prefix is copied, under its new name, from berth to etcd, as a user of
    // the source; that the mirror ends cleanly on a signal with its lag; and that it follows a
    // source that was away.
    let mut from = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let to = Server::start(Program::etcd(), &[]).await;
    put(&to.clients(), "untouched".into(), vec![1], 0).await;
    put(&from.clients(), "a/1".into(), vec![1], 0).await;
    put(&from.clients(), "b/1".into(), vec![1], 0).await;
    enable_auth(&from.clients()).await;
    let flags = ["--user=root:secret", "--prefix=a/", "--dest-prefix=copy/a/"];
    let mut mirror = Mirror::start(&from, &to, &flags);
    let expected = |n: usize| {
        let copied = (1..=n).map(|n| (format!("copy/a/{n}"), vec![1]));
        copied.chain([("untouched".to_owned(), vec![1])]).collect::<Vec<_>>()
    };
    let holds = async |n| without_versions(contents(&to).await) == expected(n);
    wait_until(|| holds(1), || mirror.log_tail()).await;
    from.kill();
    from.restart().await;
    let token = token(&from.clients()).await;
    let second = PutRequest { key: "a/2".into(), value: vec![1].into(), ..Default::default() };
    let second = testkit::with_token(second, Some(&token));
    done(from.clients().kv.put(second)).await;
    wait_until(|| holds(2), || mirror.log_tail()).await;
    mirror.says("\"lag-revisions\":0").await;
    assert_eq!(mirror.terminate(), Some(0));
    let log = mirror.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains("stopped") && last.contains("lag-seconds"), "{log}");
}

async fn token(clients: &Clients) -> String {
    let login =
        api::etcdserverpb::AuthenticateRequest { name: "root".into(), password: "secret".into() };
    done(clients.clone().auth.authenticate(login)).await.token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mirrored_is_refused() {
    // Proves that foreign keys are not overwritten unasked, that a foreign checkpoint is not taken,
    // and that a wrong password ends the mirror; each with its cause, and nothing written.
    let from = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let to = Server::start(subject!(), &[]).await;
    put(&from.clients(), "k".into(), vec![1], 0).await;
    put(&to.clients(), "mine".into(), vec![1], 0).await;
    let (ends, sides) = (format!("--from={}", from.endpoint()), format!("--to={}", to.endpoint()));
    let refuse = async |flags: &[&str], cause: &str| {
        let before = everything(&to.clients(), 0).await;
        let args = [&["mirror", &ends, &sides], flags].concat();
        let refused = berth(&args).await;
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.stderr.contains(cause), "{cause}: {refused:?}");
        assert_eq!(everything(&to.clients(), 0).await, before);
    };
    refuse(&[], "the destination has 1 keys already").await;
    refuse(&["--checkpoint-key=mine", "--replace"], "mine is no checkpoint").await;
    refuse(&["--checkpoint-key=", "--replace"], "must not be empty").await;
    let mirror = Mirror::start(&from, &to, &["--replace"]);
    equal(&from, &to, &mirror, true).await;
    drop(mirror);
    let other = ["--checkpoint-key=checkpoint", "--prefix=k"];
    refuse(&other, "is of a mirror from prefix").await;
    enable_auth(&from.clients()).await;
    refuse(&["--user=root:wrong"], "authentication failed").await;
    refuse(&[], "user name is empty").await;
    let count = RangeRequest { key: "mine".into(), ..Default::default() };
    assert_eq!(done(to.clients().kv.range(count)).await.count, 0);
}
