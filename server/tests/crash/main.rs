//! kill -9 at random moments under load: what was acknowledged is there, whatever happens.
//!
//! Writers record every attempt and every acknowledgement, watchers follow all changes and
//! resume where they were cut off, leases are granted and revoked, history is compacted behind
//! the watchers. The server is killed again and again. `BERTH_CRASH_KILLS` (50 in a full run) and
//! `BERTH_CRASH_SEED` choose the run.

mod load;
mod syncs;

use std::sync::Arc;
use std::time::Duration;

use api::etcdserverpb::{LeaseLeasesRequest, RangeRequest};
use load::Load;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::{Follower, Ledger, Promises, Server, bounded, env_number, subject};

/// Enough for the gate to meet each phase of a write; a full run has 50.
const KILLS_DEFAULT: u64 = 12;
const SEED_DEFAULT: u64 = 1;
/// The time between a restart and the next kill: from "in the middle of recovery's aftermath" to
/// "after much work".
const LIFE_MS: std::ops::Range<u64> = 10..700;

/// Proves that a crash loses no acknowledged write or lease, never turns the revision back, and
/// that watchers resume without gap or repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let kills = env_number("BERTH_CRASH_KILLS", KILLS_DEFAULT);
    let seed = env_number("BERTH_CRASH_SEED", SEED_DEFAULT);
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(subject!(), &[]).await;
    let ledger = Arc::new(Ledger::default());
    let followers = [(); 2].map(|()| Follower::start(&[server.endpoint()]));
    let load = Load::start(&server.endpoint(), &ledger, &followers, seed);
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(LIFE_MS))).await;
        server.kill();
        let promised = ledger.promises();
        server.restart().await;
        check_promises(&server, &ledger, &promised, kill).await;
    }
    load.stop().await;
    let last = revision(&server).await;
    let histories = [followers[0].upto(last).await, followers[1].upto(last).await];
    assert_eq!(histories[0], histories[1], "two watchers saw different histories");
    histories[0].check(&ledger);
    histories[0].check_against(&server.endpoint(), ledger.compacted()).await;
    println!("seed {seed}: {kills} kills, {}", ledger.summary());
}

/// What was acknowledged before a crash holds right after it.
async fn check_promises(server: &Server, ledger: &Ledger, promised: &Promises, kill: u64) {
    let now = revision(server).await;
    assert!(
        now >= promised.revision,
        "kill {kill}: revision {now} after {} was acknowledged",
        promised.revision
    );
    let mut clients = server.clients();
    let leases = bounded(clients.lease.lease_leases(LeaseLeasesRequest {})).await;
    let leases = leases.expect("a restarted server lists leases").into_inner().leases;
    // The load goes on: what it gave up since then may be gone.
    for lease in promised.leases.intersection(&ledger.promises().leases) {
        assert!(
            leases.iter().any(|status| status.id == *lease),
            "kill {kill}: lease {lease:x} is gone"
        );
    }
    for (key, write) in &promised.writes {
        // For the same reason a key may have been written again, but never back.
        let request = RangeRequest { key: key.clone().into(), ..Default::default() };
        let answer = bounded(clients.kv.range(request)).await;
        let answer = answer.expect("a restarted server serves reads").into_inner();
        let Some(found) = answer.kvs.first() else {
            assert!(
                write.value.is_none() || answer.header.is_some_and(|h| h.revision > write.revision),
                "kill {kill}: {key} of revision {} is gone",
                write.revision
            );
            continue;
        };
        assert!(
            found.mod_revision > write.revision
                || (found.mod_revision == write.revision
                    && write.value.as_deref() == Some(&found.value[..])),
            "kill {kill}: {key} is {found:?}, acknowledged was {write:?}"
        );
    }
}

async fn revision(server: &Server) -> i64 {
    let request = RangeRequest { key: "any".into(), ..Default::default() };
    let answer = bounded(server.clients().kv.range(request)).await.expect("the server serves");
    answer.into_inner().header.map_or(0, |header| header.revision)
}
