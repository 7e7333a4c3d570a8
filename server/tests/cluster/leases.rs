//! Leases across a change of leader.

use std::time::{Duration, Instant};

use api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use testkit::{Clients, Cluster, Kind, Place, bounded, connect, eventually, subject};

use crate::session::is_transient;

/// How long a lease may outlive its time: the extension that a new leader gives, and a busy
/// machine.
const LATE_S_MAX: u64 = 60;
/// A call to a member that has just died.
const CALL_S_MAX: u64 = 8;
const PAUSE: Duration = Duration::from_millis(100);

/// A lease that holds one key.
struct Lease {
    id: i64,
    ttl: Duration,
    key: String,
    /// It may not end before this: it was granted or renewed after the call was sent.
    lives_until: Instant,
}

/// Proves that leases survive the death of the leader, never end early, and end after their time;
/// and that one which is renewed through a change of leader does not end at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_the_leader_and_are_never_early() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let mut clients: Vec<Clients> =
        cluster.others(leader).iter().map(|at| connect(&cluster.member(*at).endpoint())).collect();
    let mut leases = Vec::new();
    for ttl_s in [3, 5, 8] {
        leases.push(grant(&mut clients[0], ttl_s).await);
    }
    let mut renewed = grant(&mut clients[0], 5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.member_mut(leader).kill();
    let renewals_end = Instant::now() + Duration::from_secs(15);
    let deadline = renewals_end + Duration::from_secs(LATE_S_MAX);
    while !leases.is_empty() || Instant::now() < renewals_end {
        assert!(Instant::now() < deadline, "{} leases never ended", leases.len());
        renew(&mut clients, &mut renewed).await;
        assert!(lives(&mut clients, &renewed).await, "a renewed lease ended");
        let mut left = Vec::new();
        for lease in leases {
            if lives(&mut clients, &lease).await {
                left.push(lease);
            }
        }
        leases = left;
        tokio::time::sleep(PAUSE).await;
    }
    cluster.member_mut(leader).restart().await;
    ends(&mut clients, &renewed).await;
    cluster.converged().await;
}

/// Proves that a long lease goes on from its checkpoint when leaders die one after the other, that it
/// does not end early for that, and that one which is renewed has its full time with the next leader
/// although less was written down before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_leases_go_on_from_their_checkpoints() {
    const TTL_S: i64 = 30;
    let subject = subject!();
    if subject.kind == Kind::Etcd {
        // Debian's has it, and gives no way to make the interval shorter than five minutes.
        return;
    }
    let places = (0..3).map(|_| Place::loopback()).collect();
    let flags = ["--lease-checkpoint-interval=1s"];
    let mut cluster = Cluster::start_with(subject, places, &flags).await;
    let mut clients: Vec<Clients> = (0..3).map(|at| cluster.clients(at)).collect();
    let lease = grant(&mut clients[0], TTL_S).await;
    let mut renewed = grant(&mut clients[0], TTL_S).await;
    are_seen_everywhere(&mut clients).await;
    for _ in 0..2 {
        let before = left(&mut clients, &lease).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let leader = cluster.leader().await;
        renew(&mut clients, &mut renewed).await;
        cluster.member_mut(leader).kill();
        let after = left(&mut clients, &lease).await;
        // At most an interval older than the moment of death, and rounded up.
        assert!(after < before, "{before} s were left, and now {after} s");
        let full = left(&mut clients, &renewed).await;
        let since = Instant::now().saturating_duration_since(renewed.lives_until - renewed.ttl);
        let spent = i64::try_from(since.as_secs()).expect("seconds") + 1;
        assert!(full >= TTL_S - spent, "{full} s are left of a renewed lease after {spent} s");
        cluster.member_mut(leader).restart().await;
    }
    ends(&mut clients, &lease).await;
    ends(&mut clients, &renewed).await;
    cluster.converged().await;
}

/// Seconds that are left of a lease, from whichever member knows.
async fn left(clients: &mut [Clients], lease: &Lease) -> i64 {
    let request = LeaseTimeToLiveRequest { id: lease.id, keys: false };
    eventually("somebody knows what is left of a lease", LATE_S_MAX, async || {
        for client in &mut *clients {
            let call = client.lease.lease_time_to_live(request);
            let wait = Duration::from_secs(CALL_S_MAX);
            if let Ok(Ok(answer)) = tokio::time::timeout(wait, call).await {
                return Ok(answer.into_inner().ttl);
            }
        }
        Err("nobody".to_owned())
    })
    .await
}

/// Proves that a lease which every member was killed under lives on, and ends after its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_the_whole_cluster() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let lease = grant(&mut cluster.clients(0), 6).await;
    for at in 0..cluster.len() {
        cluster.member_mut(at).kill();
    }
    cluster.launch();
    for at in 0..cluster.len() {
        cluster.member_mut(at).wait_serving().await;
    }
    let mut clients: Vec<Clients> = (0..cluster.len()).map(|at| cluster.clients(at)).collect();
    ends(&mut clients, &lease).await;
    cluster.converged().await;
}

/// What one member granted, and the key that it attached, the next one knows of.
async fn are_seen_everywhere(clients: &mut [Clients]) {
    for round in 0..30 {
        let granted = grant(&mut clients[round % 3], 60).await;
        let ask = LeaseTimeToLiveRequest { id: granted.id, keys: true };
        let asked = bounded(clients[(round + 1) % 3].lease.lease_time_to_live(ask)).await;
        let seen = asked.expect("the lease was granted").into_inner();
        assert!(seen.ttl > 0 && seen.granted_ttl == 60, "{seen:?}");
        assert_eq!(seen.keys, [granted.key.as_bytes()]);
    }
}

async fn grant(clients: &mut Clients, ttl_s: i64) -> Lease {
    let sent = Instant::now();
    let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
    let granted = bounded(clients.lease.lease_grant(request)).await;
    let granted = granted.expect("a healthy cluster grants leases").into_inner();
    let ttl = Duration::from_secs(granted.ttl.unsigned_abs());
    let lease = Lease {
        id: granted.id,
        ttl,
        key: format!("lease/{:x}", granted.id),
        lives_until: sent + ttl,
    };
    let put = PutRequest { key: lease.key.clone().into(), lease: lease.id, ..Default::default() };
    bounded(clients.kv.put(put)).await.expect("a healthy cluster takes writes");
    lease
}

/// Renews it at whichever member does so.
async fn renew(clients: &mut [Clients], lease: &mut Lease) {
    for client in clients {
        let sent = Instant::now();
        let request = tokio_stream::once(LeaseKeepAliveRequest { id: lease.id });
        let call = async {
            let answers = client.lease.lease_keep_alive(request).await?;
            answers.into_inner().message().await
        };
        match tokio::time::timeout(Duration::from_secs(CALL_S_MAX), call).await {
            Ok(Ok(Some(answer))) => {
                assert!(answer.ttl > 0, "a lease ended although it was renewed in time");
                lease.lives_until = sent + lease.ttl;
                return;
            }
            Ok(Err(refusal)) => assert!(is_transient(&refusal), "{refusal}"),
            Ok(Ok(None)) | Err(_) => {}
        }
    }
}

/// Whether the lease's key is there; when it is not, its time has to be over.
async fn lives(clients: &mut [Clients], lease: &Lease) -> bool {
    for client in clients {
        let request = RangeRequest { key: lease.key.clone().into(), ..Default::default() };
        let call = tokio::time::timeout(Duration::from_secs(CALL_S_MAX), client.kv.range(request));
        match call.await {
            Ok(Ok(answer)) if answer.get_ref().count == 1 => return true,
            Ok(Ok(_)) => {
                let early = lease.lives_until.saturating_duration_since(Instant::now());
                assert_eq!(early, Duration::ZERO, "a lease of {:?} ended early", lease.ttl);
                return false;
            }
            Ok(Err(refusal)) => assert!(is_transient(&refusal), "{refusal}"),
            Err(_) => {}
        }
    }
    // Nobody knows now.
    true
}

/// Waits for the end of a lease that nobody renews, and of its memory.
async fn ends(clients: &mut [Clients], lease: &Lease) {
    let deadline = lease.lives_until + Duration::from_secs(LATE_S_MAX);
    while lives(clients, lease).await {
        assert!(Instant::now() < deadline, "a lease of {:?} never ended", lease.ttl);
        tokio::time::sleep(PAUSE).await;
    }
    let request = LeaseTimeToLiveRequest { id: lease.id, keys: false };
    let answer = bounded(clients[0].lease.lease_time_to_live(request)).await;
    assert_eq!(answer.expect("a healthy cluster answers").into_inner().ttl, -1);
}
