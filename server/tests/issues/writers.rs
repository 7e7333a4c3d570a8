//! Clients that write for as long as a scenario lasts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::etcdserverpb::PutRequest;
use testkit::{Clients, Cluster, bounded, eventually};
use tokio::task::JoinHandle;

const WRITERS: usize = 6;
/// The longest time in which a cluster with a majority has to go on.
const PROGRESS_S_MAX: u64 = 60;
/// A write that takes longer is given up: the member that was asked may be gone.
const WRITE_TIME_MAX: Duration = Duration::from_secs(2);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// Each writes keys of its own, each of them once, at one member after the other when one fails.
pub(crate) struct Writers {
    book: Arc<Book>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Book {
    /// The keys of acknowledged writes.
    acknowledged: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Book {
    fn acknowledge(&self, key: String) {
        self.acknowledged.lock().expect("no holder panics").push(key);
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("no holder panics").len()
    }
}

impl Writers {
    pub(crate) fn start(cluster: &Cluster) -> Writers {
        let book = Arc::new(Book::default());
        let members: Vec<Clients> = (0..cluster.len()).map(|at| cluster.clients(at)).collect();
        let writer = |number| tokio::spawn(write(number, members.clone(), Arc::clone(&book)));
        let tasks = (0..WRITERS).map(writer).collect();
        Writers { book, tasks }
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Panics
    /// When they are not.
    pub(crate) async fn progress(&self, writes: usize) {
        let goal = self.book.count() + writes;
        eventually("the writers go on", PROGRESS_S_MAX, async || {
            let count = self.book.count();
            if count >= goal { Ok(()) } else { Err(format!("{count} of {goal} writes")) }
        })
        .await;
    }

    /// The keys of all acknowledged writes.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.book.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            bounded(task).await.expect("no writer panics");
        }
        std::mem::take(&mut *self.book.acknowledged.lock().expect("no holder panics"))
    }
}

async fn write(number: usize, mut members: Vec<Clients>, book: Arc<Book>) {
    let (mut at, mut count) = (number % members.len(), 0);
    while !book.stop.load(Ordering::Relaxed) {
        count += 1;
        let key = format!("k{number}/{count}");
        let request =
            PutRequest { key: key.clone().into(), value: key.clone().into(), ..Default::default() };
        let write = tokio::time::timeout(WRITE_TIME_MAX, members[at].kv.put(request));
        if matches!(write.await, Ok(Ok(_))) {
            book.acknowledge(key);
        } else {
            at = (at + 1) % members.len();
            tokio::time::sleep(PAUSE).await;
        }
    }
}
