//! A leader that is stopped and does not know it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::etcdserverpb::RangeRequest;
use testkit::{Clients, Cluster, bounded, subject};
use tokio::task::JoinHandle;

use crate::session::{Book, is_transient};
use crate::workload::Load;

/// Much longer than an election.
const PAUSE_S: u64 = 5;
/// Reads that wait in the stopped leader's sockets when it wakes.
const READS: u64 = 40;

/// Proves that a leader which was stopped while another was elected answers no read with what it
/// knew before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_serves_no_stale_read() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let clients = cluster.clients(leader);
    // The connection has to be there: a stopped process accepts none.
    bounded(clients.kv.clone().range(RangeRequest::default())).await.expect_err("no key given");
    cluster.member(leader).suspend();
    let reads: Vec<_> = (0..READS).map(|number| read_later(number, &clients, &load.book)).collect();
    tokio::time::sleep(Duration::from_secs(PAUSE_S)).await;
    cluster.leader_among(&cluster.others(leader)).await;
    load.progress(50).await;
    cluster.member(leader).resume();
    let mut answered = 0;
    for read in reads {
        answered += u32::from(bounded(read).await.expect("no reader panics"));
    }
    println!("{answered} of {READS} reads at the stopped leader were answered");
    load.progress(50).await;
    load.finish(&mut cluster).await;
}

/// Reads at a moment within the pause, and records what comes back whenever it comes. Whether it
/// was stale is for the timeline to judge.
fn read_later(number: u64, clients: &Clients, book: &Arc<Book>) -> JoinHandle<bool> {
    let (mut kv, book) = (clients.kv.clone(), Arc::clone(book));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(PAUSE_S * 1_000 * number / READS)).await;
        let key = format!("load/{}", number % 8);
        let request = RangeRequest { key: key.clone().into(), ..Default::default() };
        let started = Instant::now();
        match kv.range(request).await {
            Ok(answer) => {
                book.timeline.read(
                    "a reader at the stopped leader",
                    started,
                    &key,
                    answer.get_ref(),
                );
                true
            }
            Err(refusal) => {
                assert!(is_transient(&refusal), "{refusal}");
                false
            }
        }
    })
}
