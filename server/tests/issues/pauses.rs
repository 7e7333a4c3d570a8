//! What was stale after a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use api::etcdserverpb::{PutRequest, RangeRequest};
use testkit::{Clients, Cluster, Place, bounded, eventually, subject};
use tokio::task::JoinHandle;

/// Elections are quick, and a pause is longer than several of them.
const FLAGS: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];
const PAUSE_MIN: Duration = Duration::from_millis(1500);
/// So many at each member, so that some reads always wait there.
const READERS: usize = 4;
/// Reads of each running member, and writes, that are waited for in each stage.
const STAGE: u64 = 30;
const PROGRESS_S_MAX: u64 = 60;
/// After a failure.
const REST: Duration = Duration::from_millis(20);
/// A write that takes longer is given up: the member that was asked may be stopped.
const WRITE_TIME_MAX: Duration = Duration::from_secs(1);

/// Proves that no linearizable read is older than a write that was acknowledged before it began:
/// neither those that wait at a leader which is stopped for longer than an election, nor those that
/// wait at its followers for what it would have said, nor those at a follower that is stopped; and
/// that all members answer reads when they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20418_no_read_is_stale_when_members_are_stopped_and_go_on() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::start_with(subject!(), places, FLAGS).await;
    let load = Load::start(&cluster);
    for leads in [true, true, false] {
        load.progress(&[0, 1, 2]).await;
        let leader = cluster.leader().await;
        let victim = if leads { leader } else { cluster.others(leader)[0] };
        let others = cluster.others(victim);
        cluster.member(victim).suspend();
        tokio::time::sleep(PAUSE_MIN).await;
        load.progress(&others).await;
        cluster.member(victim).resume();
    }
    load.progress(&[0, 1, 2]).await;
    load.stop().await;
}

/// One key is written, and read at all members.
struct Load {
    facts: Arc<Facts>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Facts {
    /// The newest acknowledged write.
    acknowledged: AtomicI64,
    writes: AtomicU64,
    /// Answered ones, by member.
    reads: [AtomicU64; 3],
    stop: AtomicBool,
}

impl Load {
    fn start(cluster: &Cluster) -> Load {
        let facts = Arc::new(Facts::default());
        let members: Vec<Clients> = (0..cluster.len()).map(|at| cluster.clients(at)).collect();
        let mut tasks = vec![tokio::spawn(write(members.clone(), Arc::clone(&facts)))];
        for at in (0..members.len()).flat_map(|at| [at; READERS]) {
            tasks.push(tokio::spawn(read(at, members[at].clone(), Arc::clone(&facts))));
        }
        Load { facts, tasks }
    }

    /// Waits for more writes, and more answered reads at each of these members.
    ///
    /// # Panics
    /// When there are none, or a reader has panicked.
    async fn progress(&self, members: &[usize]) {
        let reads = members.iter().map(|at| &self.facts.reads[*at]);
        let counts: Vec<&AtomicU64> = reads.chain([&self.facts.writes]).collect();
        let count = |count: &&AtomicU64| count.load(Ordering::Relaxed);
        let goals: Vec<u64> = counts.iter().map(|it| count(it) + STAGE).collect();
        eventually("reads and writes go on", PROGRESS_S_MAX, async || {
            let now: Vec<u64> = counts.iter().map(count).collect();
            let is_reached = now.iter().zip(&goals).all(|(now, goal)| now >= goal);
            if is_reached { Ok(()) } else { Err(format!("{now:?} of {goals:?}")) }
        })
        .await;
    }

    async fn stop(self) {
        self.facts.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            bounded(task).await.expect("no read is stale");
        }
    }
}

async fn write(mut members: Vec<Clients>, facts: Arc<Facts>) {
    let mut at = 0;
    while !facts.stop.load(Ordering::Relaxed) {
        let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        match tokio::time::timeout(WRITE_TIME_MAX, members[at].kv.put(put)).await {
            Ok(Ok(answer)) => {
                let revision = answer.into_inner().header.expect("a header").revision;
                facts.acknowledged.fetch_max(revision, Ordering::SeqCst);
                facts.writes.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                at = (at + 1) % members.len();
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Its reads have no deadline: they wait for as long as their member is stopped.
async fn read(at: usize, mut clients: Clients, facts: Arc<Facts>) {
    while !facts.stop.load(Ordering::Relaxed) {
        let lowest = facts.acknowledged.load(Ordering::SeqCst);
        let range = RangeRequest { key: "k".into(), ..Default::default() };
        let Ok(answer) = clients.kv.range(range).await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let found = answer.into_inner().kvs.first().map_or(0, |kv| kv.mod_revision);
        assert!(found >= lowest, "m{} showed r{found} after r{lowest} was acknowledged", at + 1);
        facts.reads[at].fetch_add(1, Ordering::Relaxed);
    }
}
