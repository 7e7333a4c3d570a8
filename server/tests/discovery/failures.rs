//! What goes wrong with stores, and what followers and clients see of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::watch_create_request::FilterType;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, WatchCreateRequest, WatchRequest,
};
use futures::{StreamExt, stream};
use sched::kv::Store;
use sched::kv::follow::{Change, Changes, Follower, News};
use sched::kv::grpc::{Endpoint, GrpcKv};
use testkit::{Clients, Kind, Proxy, Server, Weather, bounded, env_number, eventually, subject};

use crate::dig::Dns;
use crate::tool::{delete, done, get, page, put};

/// Instances that expire in the same second.
const INSTANCES: u64 = 10_000;
/// Requests under way while they are made.
const AT_ONCE: usize = 64;
/// Instances after which all so far are renewed, so that none expires before the last is there.
const STEP: usize = 1000;
/// The shortest time to live; a machine on which a step takes long gets more.
const TTL_S_MIN: i64 = 15;
/// So many steps may take as long as a time to live: each, and the renewal of all so far, may take
/// longer than the sample had it.
const STEPS_IN_TTL: u32 = 6;
/// Instances that are made to see how long a step takes.
const SAMPLE: u64 = 200;
/// Clients that write and read while they expire.
const OTHERS: usize = 4;
/// Leases that berth ends by one entry of its log, and how long it waits for others to share it.
const LEASES_PER_ENTRY: u64 = 1000;
const GATHER: Duration = Duration::from_millis(100);
/// Entries of its own beside those.
const ENTRIES_BESIDE: u64 = 10;

fn store(address: &str) -> Store {
    let target = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
    let target = target.expect("an address");
    let endpoint = Endpoint::new(address.to_owned(), move || target.connect_lazy());
    Arc::new(GrpcKv::new(vec![endpoint], None).expect("one endpoint"))
}

/// What a follower makes of a prefix; it panics at a gap or a repeat.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, (i64, String)>,
    told: BTreeSet<(String, i64)>,
    puts: usize,
    deletes: usize,
}

impl Model {
    fn take(&mut self, changes: &Changes) {
        for change in &changes.list {
            let key = String::from_utf8_lossy(change.key()).into_owned();
            match change {
                Change::Put(kv) => {
                    let value = String::from_utf8_lossy(&kv.value).into_owned();
                    assert!(self.told.insert((key.clone(), kv.mod_revision)), "{key} again");
                    let before = self.keys.insert(key.clone(), (kv.mod_revision, value));
                    assert!(before.is_none_or(|(revision, _)| revision < kv.mod_revision), "{key}");
                    self.puts += 1;
                }
                Change::Delete(_) => {
                    assert!(self.keys.remove(&key).is_some(), "{key} was not there");
                    self.deletes += 1;
                }
            }
        }
    }

    async fn until(&mut self, follower: &mut Follower, wanted: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> =
            wanted.iter().map(|(key, value)| (format!("/f/{key}"), (*value).to_owned())).collect();
        let is = |model: &Self| {
            let now = model.keys.iter().map(|(key, (_, value))| (key.clone(), value.clone()));
            now.eq(wanted.iter().cloned())
        };
        while !is(self) {
            if let News::Changes(changes) = bounded(follower.next()).await {
                self.take(&changes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_misses_and_repeats_nothing() {
    // Proves the first list, plain changes, a lost connection (it goes on where it was), a
    // compaction below its position while it was away (it tells the differences alone, deletions
    // too), and that keys which did not change are not told again.
    let mut server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for (key, value) in [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")] {
        put(&clients, &format!("/f/{key}"), value).await;
    }
    put(&clients, "/g", "no").await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.client_port)).await;
    let mut follower = Follower::new(store(proxy.address()), "/f/");
    let mut model = Model::default();
    model.until(&mut follower, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]).await;
    put(&clients, "/f/a", "2").await;
    delete(&clients, "/f/b").await;
    model.until(&mut follower, &[("a", "2"), ("c", "1"), ("d", "1")]).await;
    assert_eq!((model.puts, model.deletes), (5, 1));

    // Cut off, and back with all history there.
    proxy.set(Weather { stalled: true, ..Weather::default() });
    server.kill();
    server.restart().await;
    let clients = server.clients();
    put(&clients, "/f/a", "3").await;
    put(&clients, "/f/a", "4").await;
    proxy.set(Weather::default());
    model.until(&mut follower, &[("a", "4"), ("c", "1"), ("d", "1")]).await;
    assert_eq!((model.puts, model.deletes), (7, 1), "each step on the way");

    // Cut off, and back with the history gone.
    proxy.set(Weather { stalled: true, ..Weather::default() });
    server.kill();
    server.restart().await;
    let clients = server.clients();
    put(&clients, "/f/a", "5").await;
    put(&clients, "/f/e", "1").await;
    delete(&clients, "/f/c").await;
    put(&clients, "/f/a", "6").await;
    let revision = put(&clients, "/g", "no").await;
    let request = CompactionRequest { revision, physical: true };
    done(clients.clone().kv.compact(request)).await;
    proxy.set(Weather::default());
    model.until(&mut follower, &[("a", "6"), ("d", "1"), ("e", "1")]).await;
    put(&clients, "/f/d", "2").await;
    model.until(&mut follower, &[("a", "6"), ("d", "2"), ("e", "1")]).await;
    assert_eq!((model.puts, model.deletes), (10, 2), "a, e and then d; c is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_notices_that_the_store_is_another() {
    // Proves that a store put back to an earlier state (here: to none) is listed again, instead of
    // waited for until it has as many revisions as it had.
    let mut server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for key in ["a", "b", "c"] {
        put(&clients, &format!("/f/{key}"), "1").await;
    }
    let mut follower = Follower::new(store(&format!("127.0.0.1:{}", server.client_port)), "/f/");
    let mut model = Model::default();
    model.until(&mut follower, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).expect("the data can be removed");
    server.restart().await;
    model.until(&mut follower, &[]).await;
    put(&server.clients(), "/f/d", "1").await;
    model.until(&mut follower, &[("d", "1")]).await;
}

/// One lease and one instance of its own.
async fn register(clients: &Clients, at: u64, ttl: i64) -> i64 {
    let mut clients = clients.clone();
    let grant = LeaseGrantRequest { ttl, id: 0 };
    let lease = done(clients.lease.lease_grant(grant)).await.id;
    let key = format!("/services/s{}/{at}", at % 100).into();
    let value = r#"{"address":"10.0.0.1","port":80}"#.into();
    done(clients.kv.put(PutRequest { key, value, lease, ..PutRequest::default() })).await;
    lease
}

/// Several at a time.
async fn make(clients: &Clients, which: Range<u64>, ttl: i64) -> Vec<i64> {
    let made = stream::iter(which).map(|at| register(clients, at, ttl)).buffer_unordered(AT_ONCE);
    made.collect().await
}

/// Renews all leases, as nearly at once as can be.
async fn renew(clients: &Clients, leases: &[i64]) {
    let requests: Vec<_> = leases.iter().map(|id| LeaseKeepAliveRequest { id: *id }).collect();
    let requests = stream::iter(requests).chain(stream::pending());
    let mut answers = done(clients.clone().lease.lease_keep_alive(requests)).await;
    for _ in leases {
        let answer = bounded(answers.message()).await.expect("no error").expect("no end");
        assert!(answer.ttl > 0, "{:x} has expired too early", answer.id);
    }
}

/// What somebody saw who had nothing to do with it.
#[derive(Default)]
struct Seen {
    /// The longest time that one write and one read took.
    longest: Duration,
    /// The revisions of the writes.
    written: Vec<i64>,
}

/// Writes and reads until told to stop.
async fn other_client(clients: Clients, number: usize, stop: Arc<AtomicBool>) -> Seen {
    let (mut seen, key) = (Seen::default(), format!("/other/{number}"));
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        seen.written.push(put(&clients, &key, "x").await);
        get(&clients, &key).await;
        seen.longest = seen.longest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// Entries of the log that are committed.
async fn committed(server: &Server) -> u64 {
    let page = page(server.client_port, "/metrics").await;
    let value =
        page.lines().find_map(|line| line.strip_prefix("etcd_server_proposals_committed_total "));
    let value: f64 = value.expect("it is counted").trim().parse().expect("a number");
    format!("{value:.0}").parse().expect("a whole number")
}

/// The revisions at which registrations were deleted after one, in order, each once.
async fn deletions(clients: &Clients, after: i64, expected: usize) -> Vec<i64> {
    let create = WatchCreateRequest {
        key: "/services/".into(),
        range_end: "/services0".into(),
        start_revision: after + 1,
        filters: vec![FilterType::Noput.into()],
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = stream::iter([create]).chain(stream::pending());
    let mut answers = done(clients.clone().watch.watch(requests)).await;
    let (mut keys, mut revisions) = (BTreeSet::new(), Vec::new());
    while revisions.len() < expected {
        let answer = bounded(answers.message()).await.expect("no error").expect("no end");
        for event in answer.events {
            let kv = event.kv.expect("a key");
            assert!(keys.insert(kv.key.clone()), "{:?} twice", kv.key);
            revisions.push(kv.mod_revision);
        }
    }
    assert!(revisions.is_sorted());
    revisions
}

/// The most deletions in a row that no other client was served between.
fn longest_run(deletions: &[i64], written: &BTreeSet<i64>) -> usize {
    let between = |pair: &[i64]| written.range(pair[0]..pair[1]).next().is_some();
    let mut runs = vec![1];
    for pair in deletions.windows(2) {
        match between(pair) {
            true => runs.push(1),
            false => *runs.last_mut().expect("never empty") += 1,
        }
    }
    runs.into_iter().max().unwrap_or_default()
}

async fn count(clients: &Clients) -> i64 {
    let request = RangeRequest {
        key: "/services/".into(),
        range_end: "/services0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    done(clients.clone().kv.range(request)).await.count
}

/// Registers so many, all renewed at last at about the same time; their time to live, and how far
/// apart the renewals were at most.
async fn crowd(clients: &Clients, instances: u64) -> (i64, Duration) {
    let sampled = Instant::now();
    let sample = make(clients, 0..SAMPLE, TTL_S_MIN).await;
    let steps =
        sampled.elapsed() * u32::try_from(STEP as u64 / SAMPLE).expect("few") * STEPS_IN_TTL;
    for id in sample {
        done(clients.clone().lease.lease_revoke(LeaseRevokeRequest { id })).await;
    }
    let ttl = TTL_S_MIN.max(i64::try_from(steps.as_secs() + 1).expect("seconds"));
    let (mut leases, mut spread) = (Vec::new(), Duration::ZERO);
    for from in (0..instances).step_by(STEP) {
        let step = from..instances.min(from + STEP as u64);
        leases.extend(make(clients, step, ttl).await);
        let renewed = Instant::now();
        renew(clients, &leases).await;
        spread = renewed.elapsed();
    }
    (ttl, spread)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_instances_expire_in_one_wave() {
    // Proves that all of them go, each once, in DNS too; that berth ends them by a few entries of its
    // log; and that other clients are served in the midst of it. Prints how long they waited, of
    // which `benches expiry` has more.
    let instances = env_number("BERTH_INSTANCES", INSTANCES);
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let dns = Dns::start(&server, &[]).await;
    let (ttl, spread) = crowd(&clients, instances).await;
    let renewed = Instant::now();
    dns.until(&["s7.service.cluster.local"], &["A 10.0.0.1"]).await;
    assert_eq!(count(&clients).await, i64::try_from(instances).unwrap());
    let (before, entries) = (put(&clients, "/before", "").await, committed(&server).await);
    let stop = Arc::new(AtomicBool::new(false));
    let other = |number| tokio::spawn(other_client(server.clients(), number, stop.clone()));
    let others: Vec<_> = (0..OTHERS).map(other).collect();
    let gone = async || match count(&clients).await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    };
    eventually("all are gone", 120, gone).await;
    let late = renewed.elapsed().saturating_sub(Duration::from_secs(ttl.unsigned_abs()));
    stop.store(true, Ordering::Relaxed);
    let (mut longest, mut written) = (Duration::ZERO, BTreeSet::new());
    for other in others {
        let seen = other.await.expect("it does not panic");
        longest = longest.max(seen.longest);
        written.extend(seen.written);
    }
    let entries = committed(&server).await - entries - written.len() as u64;
    dns.until(&["s7.service.cluster.local"], &[]).await;
    assert_eq!(dns.code("s7.service.cluster.local").await, "NXDOMAIN");

    let deleted = deletions(&clients, before, usize::try_from(instances).unwrap()).await;
    let (first, last) = (deleted[0], deleted[deleted.len() - 1]);
    let served = written.range(first..last).count();
    println!(
        "{instances} instances renewed within {spread:?}, the last gone {late:?} after its time by \
         {entries} entries of the log; {served} writes of others were answered meanwhile, {} \
         deletions at most in a row, and the longest write and read took {longest:?}",
        longest_run(&deleted, &written)
    );
    if server.program.kind == Kind::Berth {
        // etcd takes an entry for each.
        let gathered = u64::try_from(spread.as_millis() / GATHER.as_millis() + 1).unwrap();
        let bound = instances.div_ceil(LEASES_PER_ENTRY) + gathered + ENTRIES_BESIDE;
        assert!(entries <= bound, "{entries} entries, not {bound} at most");
    }
    // What ends at once may be one entry, which nothing comes between.
    assert!(served > 0 || instances <= LEASES_PER_ENTRY, "others waited for all of them");
}
