//! The load under which a scenario happens, and the judgement at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::{Cluster, Follower, Kind, Position, eventually, subject};
use tokio::task::JoinHandle;

use crate::session::{Book, Session};

/// Few enough to be written and read by several clients at the same time.
const KEYS: u32 = 8;
/// Between two calls of one client: the machine has few cores, and elections need them too.
const PAUSE: Duration = Duration::from_millis(4);
/// How far behind the watch history is kept, and how much is forgotten at a time.
const REVISIONS_KEPT: i64 = 150;
const REVISIONS_PER_COMPACTION: i64 = 50;
/// The longest time in which a cluster with a majority has to go on.
const PROGRESS_S_MAX: u64 = 60;

/// Clients that write and read until they are stopped, one that begins at each member; one that
/// compacts; and a watch of everything.
pub(crate) struct Load {
    pub book: Arc<Book>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    follower: Follower,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let endpoints = cluster.endpoints();
        let (book, stop) = (Arc::new(Book::default()), Arc::new(AtomicBool::new(false)));
        let session = |name: String, first| Session::new(name, &endpoints, first, book.clone());
        let mut tasks: Vec<_> = (0..endpoints.len())
            .map(|first| {
                let session = session(format!("client {}", first + 1), first);
                tokio::spawn(work(session, first, Arc::clone(&stop)))
            })
            .collect();
        let follower = Follower::start(&endpoints);
        let compactor = session("the compactor".to_owned(), 0);
        tasks.push(tokio::spawn(compact(compactor, follower.position(), Arc::clone(&stop))));
        Self { book, stop, tasks, follower }
    }

    /// Waits until the clients have made so many writes more.
    ///
    /// # Panics
    /// When they do not get on.
    pub(crate) async fn progress(&self, writes: u64) {
        let goal = self.book.writes() + writes;
        eventually("the clients go on", PROGRESS_S_MAX, async || {
            let now = self.book.writes();
            if now >= goal { Ok(()) } else { Err(format!("{now} of {goal} writes")) }
        })
        .await;
    }

    /// Lets the load go on for a while, whatever it achieves.
    pub(crate) async fn linger(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The last revision that the load's own watch has seen.
    pub(crate) fn position(&self) -> i64 {
        self.follower.position().revision()
    }

    /// Ends the load.
    ///
    /// # Panics
    /// When a client got an answer that it should never get.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.expect("no client panics");
        }
        let failures = self.book.failures();
        assert!(failures.is_empty(), "{} failed calls: {failures:#?}", failures.len());
    }

    /// No client was ever told to try again: whatever was done was done on purpose, and with care.
    /// etcd does not go that far.
    ///
    /// # Panics
    /// When berth is under test and a client was told so.
    pub(crate) fn assert_unnoticed(&self) {
        let refusals = self.book.refusals();
        if subject!().kind == Kind::Berth {
            assert!(refusals.is_empty(), "clients noticed: {refusals:#?}");
        }
    }

    /// Ends the load and judges the run: all members hold the same, the whole history of each
    /// has every acknowledged write and nothing else, and all calls were linearizable.
    ///
    /// # Panics
    /// When anything of that does not hold, or a client got an answer that it should never get.
    pub(crate) async fn finish(mut self, cluster: &mut Cluster) {
        self.stop().await;
        let last = cluster.converged().await;
        let watched = self.follower.upto(last).await;
        watched.check(&self.book.ledger);
        self.book.timeline.check(&watched);
        for at in cluster.running() {
            let endpoint = cluster.member(at).endpoint();
            watched.check_against(&endpoint, self.book.ledger.compacted()).await;
        }
        println!(
            "{}, {} reads, {} retries",
            self.book.ledger.summary(),
            self.book.timeline.reads(),
            self.book.retries()
        );
    }
}

/// Forgets history behind the watch, in steps.
async fn compact(mut session: Session, watched: Position, stop: Arc<AtomicBool>) {
    let mut compacted = 0;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE).await;
        let upto = watched.revision() - REVISIONS_KEPT;
        if upto >= compacted + REVISIONS_PER_COMPACTION {
            session.compact(upto).await;
            compacted = upto;
        }
    }
}

async fn work(mut session: Session, first: usize, stop: Arc<AtomicBool>) {
    let seed = u64::try_from(first).expect("a cluster is small");
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let key = format!("load/{}", random.random_range(0..KEYS));
        match random.random_range(0..20) {
            0 => session.delete(&key).await,
            1..4 => session.put_two(&key).await,
            4..11 => session.put(&key).await,
            _ => session.get(&key).await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
