use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse,
};
use futures::FutureExt;
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use smallvec::SmallVec;
use store::{Applied, LeaseInfo, Response};
use tokio::time::{Instant, advance, sleep};

use super::*;

type Clock = Lessor<TokioRuntime>;

/// What was proposed: after how long, and which leases.
type Proposals = Arc<Mutex<Vec<(Duration, Vec<i64>)>>>;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn leases(count: i64, ttl_s: i64) -> Vec<LeaseInfo> {
    (1..=count).map(|id| LeaseInfo { id, ttl_s, grant_index: 7, remaining_s: 0, keys: 0 }).collect()
}

fn ok(response: Response) -> Applied {
    Applied { revision: 1, result: Ok(response), events: SmallVec::new() }
}

fn ids(command: &Command) -> Vec<i64> {
    match &command.op {
        Some(Op::ExpireLeases(expire)) => expire.leases.iter().map(|lease| lease.id).collect(),
        _ => panic!("not an expiry: {command:?}"),
    }
}

/// Runs the expiry task; what it proposes is applied, unless `refuse` says no.
fn expiring(clock: &Clock, refuse: impl Fn(usize) -> bool + Send + Sync + 'static) -> Proposals {
    let proposals = Proposals::default();
    let (seen, observer, start) = (proposals.clone(), clock.clone(), Instant::now());
    let propose = move |command: Command| {
        let count = seen.lock().len();
        seen.lock().push((start.elapsed(), ids(&command)));
        let outcome = if refuse(count) {
            Err(Error::NoLeader)
        } else {
            let applied = ok(Response::ExpireLeases);
            observer.observe(99, &command, &applied);
            Ok(applied)
        };
        async { outcome }
    };
    tokio::spawn(run(clock.clone(), propose));
    proposals
}

#[tokio::test(start_paused = true)]
async fn leases_expire_on_time_and_never_early() {
    // Proves that a lease is there until its last moment, ends at it, and ends once.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(1, 10));
    let proposals = expiring(&clock, |_| false);
    sleep(s(10) - Duration::from_millis(2)).await;
    assert!(proposals.lock().is_empty());
    assert_eq!(clock.remaining(1), Some(0));
    sleep(2 * expiry::GATHER).await;
    let (after, ids) = proposals.lock()[0].clone();
    assert!(after >= s(10) && after < s(10) + 2 * expiry::GATHER, "{after:?}");
    assert_eq!(ids, [1]);
    assert_eq!(clock.keep_alive(1).await, Ok(Renewal::Unknown));
    assert_eq!(clock.remaining(1), None);
    sleep(s(100)).await;
    assert_eq!(proposals.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_gives_the_full_time_again() {
    // Proves that a lease lives as long as it is renewed, and answers its time to live.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(1, 10));
    let proposals = expiring(&clock, |_| false);
    for _ in 0..20 {
        sleep(s(9)).await;
        assert_eq!(clock.keep_alive(1).await, Ok(Renewal::Until(10)));
    }
    assert!(proposals.lock().is_empty());
    sleep(s(11)).await;
    assert_eq!(proposals.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn thousands_that_are_due_together_take_a_few_entries() {
    // Proves the bound per entry, and that 200,000 leases of one deadline end at once, together
    // with one that is due a moment later.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(199_999, 10));
    sleep(expiry::GATHER / 2).await;
    clock.granted(&LeaseInfo { id: 200_000, ttl_s: 10, grant_index: 7, remaining_s: 0, keys: 0 });
    let proposals = expiring(&clock, |_| false);
    sleep(s(11)).await;
    let proposals = proposals.lock();
    assert_eq!(proposals.len(), 200);
    assert!(proposals.iter().all(|(after, ids)| ids.len() == 1000 && *after < s(11)));
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_that_comes_too_late_waits_for_the_outcome() {
    // Proves that it neither saves the lease nor is told it is gone before that is decided.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(1, 10));
    advance(s(10)).await;
    let mut late = Box::pin(clock.keep_alive(1));
    assert_eq!((&mut late).now_or_never(), None);
    let proposals = expiring(&clock, |count| count < 3);
    sleep(s(1)).await;
    assert_eq!((&mut late).now_or_never(), None, "refused {} times", proposals.lock().len());
    sleep(s(1)).await;
    assert_eq!(proposals.lock().len(), 4);
    assert_eq!(late.await, Ok(Renewal::Unknown));
}

#[tokio::test(start_paused = true)]
async fn only_the_leaders_clock_counts() {
    // Proves that nothing expires on a follower, and that a new leader gives the full time.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(1, 10));
    let proposals = expiring(&clock, |_| false);
    sleep(s(9)).await;
    clock.demote();
    assert_eq!(clock.remaining(1), None);
    assert_eq!(clock.keep_alive(1).await, Err(Error::NoLeader));
    sleep(s(100)).await;
    assert!(proposals.lock().is_empty());
    clock.promote(|| leases(1, 10));
    assert_eq!(clock.keep_alive(1).await, Ok(Renewal::Until(10)));
    sleep(s(9)).await;
    assert!(proposals.lock().is_empty());
    sleep(s(2)).await;
    assert_eq!(proposals.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn revoked_leases_are_forgotten_and_closing_ends_all() {
    // Proves that a revoke is learnt from apply, and that no keep-alive outlives the node.
    let clock = Clock::new(2, None);
    clock.promote(|| leases(2, 10));
    let proposals = expiring(&clock, |_| true);
    let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: 1 });
    let command = Command { principal: None, origin: None, op: Some(revoke) };
    clock.observe(50, &command, &ok(Response::LeaseRevoke(LeaseRevokeResponse::default())));
    assert_eq!(clock.keep_alive(1).await, Ok(Renewal::Unknown));
    sleep(s(10)).await;
    let late = tokio::spawn({
        let clock = clock.clone();
        async move { clock.keep_alive(2).await }
    });
    sleep(s(1)).await;
    assert!(proposals.lock().iter().all(|(_, ids)| ids == &[2]));
    clock.close();
    assert_eq!(late.await.unwrap(), Err(Error::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_readers_saw_the_clock_knows() {
    // Proves that whoever asks between a grant's effect and the clock's news of it waits for the
    // news, and that who stops leading meanwhile says nothing of the lease.
    let clock = Clock::new(2, None);
    clock.promote(Vec::new);
    let grant = LeaseGrantRequest { id: 1, ttl: 10 };
    let command = Command { op: Some(Op::LeaseGrant(grant)), ..Command::default() };
    clock.expect(&command);
    let mut learned = Box::pin(clock.learned());
    assert!((&mut learned).now_or_never().is_none());
    let granted = LeaseGrantResponse { id: 1, ttl: 10, ..LeaseGrantResponse::default() };
    clock.observe(5, &command, &ok(Response::LeaseGrant(granted)));
    learned.await;
    assert_eq!(clock.knows(1), Some(true));
    assert_eq!(clock.knows(2), Some(false));
    clock.demote();
    assert_eq!(clock.knows(1), None);

    clock.expect(&command);
    let mut learned = Box::pin(clock.learned());
    assert!((&mut learned).now_or_never().is_none());
    clock.close();
    learned.await;
}
