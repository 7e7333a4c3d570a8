//! The lock, on one server.

use api::etcdserverpb::LeaseRevokeRequest;
use api::v3lockpb::{LockRequest, UnlockRequest};
use testkit::{Kind, Server, bounded, subject};
use tonic::Code;

use crate::{LONG_S, grant, lock, queue, queue_of};

/// Proves that the key is the name and the lease, that a lease holds a lock once however often it
/// asks, and that unlocking what is not locked is no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_the_name_and_the_lease() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    grant(&clients, 0xabc, LONG_S).await;
    let first = lock(&clients, "name", 0xabc).await.unwrap();
    assert_eq!(first.key, "name/abc");
    let held = queue(&clients, "name").await;
    assert_eq!((held.len(), held[0].lease, &held[0].value[..]), (1, 0xabc, &b""[..]));
    assert_eq!(first.header.unwrap().revision, held[0].create_revision);
    assert_eq!(lock(&clients, "name", 0xabc).await.unwrap().key, first.key);
    for _ in 0..2 {
        let key = first.key.clone();
        bounded(clients.lock.clone().unlock(UnlockRequest { key })).await.unwrap();
        assert_eq!(queue(&clients, "name").await, []);
    }
}

/// Proves that without a lease one of a minute is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_without_a_lease_gets_one() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let locked = lock(&clients, "name", 0).await.unwrap();
    let held = queue(&clients, "name").await.remove(0);
    assert_eq!(locked.key, format!("name/{:x}", held.lease));
    let asked = api::etcdserverpb::LeaseTimeToLiveRequest { id: held.lease, keys: true };
    let lease =
        bounded(clients.lease.clone().lease_time_to_live(asked)).await.unwrap().into_inner();
    assert_eq!((lease.granted_ttl, lease.keys), (60, vec![locked.key]));
}

/// Proves that locks are given in the order in which they were asked for, each to one holder, and
/// that the revision of each grows: by it a resource can tell a late writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_get_the_lock_in_their_order() {
    const WAITERS: i64 = 5;
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let (got, mut order) = tokio::sync::mpsc::unbounded_channel();
    for lease in 1..=WAITERS {
        grant(&clients, lease, LONG_S).await;
        let (clients, got) = (clients.clone(), got.clone());
        tokio::spawn(async move {
            got.send((lease, lock(&clients, "name", lease).await.unwrap())).unwrap();
        });
        queue_of(&server.clients(), "name", usize::try_from(lease).unwrap()).await;
    }
    let mut last = 0;
    for lease in 1..=WAITERS {
        let (holder, locked) = bounded(order.recv()).await.unwrap();
        assert_eq!(holder, lease);
        assert!(order.try_recv().is_err(), "two hold it");
        let held = queue(&clients, "name").await.remove(0);
        assert_eq!(held.key, locked.key);
        assert!(held.create_revision > last && locked.header.unwrap().revision > last);
        last = held.create_revision;
        bounded(clients.lock.clone().unlock(UnlockRequest { key: locked.key })).await.unwrap();
    }
}

/// Proves that the lock passes on when the lease of its holder is revoked, and when it runs out
/// because the holder does not keep it alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_passes_on_when_the_holders_lease_ends() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    grant(&clients, 3, LONG_S).await;
    lock(&clients, "name", 1).await.unwrap();
    // It must last until it has the lock.
    grant(&clients, 2, 5).await;
    let mut short = tokio::spawn({
        let clients = clients.clone();
        async move { lock(&clients, "name", 2).await }
    });
    queue_of(&clients, "name", 2).await;
    let revoke = LeaseRevokeRequest { id: 1 };
    bounded(clients.lease.clone().lease_revoke(revoke)).await.unwrap();
    // If its own lease was over by then, it is told so.
    let second = bounded(&mut short).await.unwrap();
    assert!(second.is_ok_and(|locked| locked.key == "name/2"));
    assert_eq!(lock(&clients, "name", 3).await.unwrap().key, "name/3");
    assert_eq!(queue(&clients, "name").await.len(), 1);
}

/// Proves that who waits with a lease that ends meanwhile is told so when its turn comes, and holds
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_lease_ended_gets_nothing() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    grant(&clients, 2, LONG_S).await;
    let held = lock(&clients, "name", 1).await.unwrap();
    let waiting = tokio::spawn({
        let clients = clients.clone();
        async move { lock(&clients, "name", 2).await }
    });
    queue_of(&clients, "name", 2).await;
    bounded(clients.lease.clone().lease_revoke(LeaseRevokeRequest { id: 2 })).await.unwrap();
    queue_of(&clients, "name", 1).await;
    bounded(clients.lock.clone().unlock(UnlockRequest { key: held.key })).await.unwrap();
    let told = bounded(waiting).await.unwrap();
    if server.program.kind == Kind::Etcd && told.is_ok() {
        // etcd 3.4 does not look (11456).
        return;
    }
    let told = told.unwrap_err();
    assert_eq!((told.code(), told.message()), (Code::Unknown, "mutex: session is expired"));
    assert_eq!(queue(&clients, "name").await, []);
}

/// Proves that a waiter that goes away, by giving up or with its connection, leaves no key behind,
/// and that the one behind it gets its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_goes_away_leaves_nothing() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for lease in 1..=4 {
        grant(&clients, lease, LONG_S).await;
    }
    let held = lock(&clients, "name", 1).await.unwrap();
    // One gives up; one loses its connection, which is its own.
    let mut waiters = Vec::new();
    for lease in 2..=4 {
        let clients = server.clients();
        waiters.push(tokio::spawn(async move { lock(&clients, "name", lease).await }));
        queue_of(&server.clients(), "name", usize::try_from(lease).unwrap()).await;
    }
    waiters[0].abort();
    waiters[1].abort();
    queue_of(&clients, "name", 2).await;
    bounded(clients.lock.clone().unlock(UnlockRequest { key: held.key })).await.unwrap();
    let last = bounded(waiters.pop().unwrap()).await.unwrap().unwrap();
    assert_eq!(last.key, "name/4");
}

/// Proves that a lease that is not there, and no key, are refused in etcd's words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_etcds() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let told = lock(&clients, "name", 99).await.unwrap_err();
    let words = "etcdserver: requested lease not found";
    assert_eq!((told.code(), told.message()), (Code::Unknown, words));
    let mut locks = clients.lock.clone();
    let nothing = locks.unlock(UnlockRequest::default());
    let told = bounded(nothing).await.unwrap_err();
    let words = "etcdserver: key is not provided";
    assert_eq!((told.code(), told.message()), (Code::Unknown, words));
    // No name is a name.
    let nameless = locks.lock(LockRequest::default());
    let locked = bounded(nameless).await.unwrap().into_inner();
    assert!(locked.key.starts_with(b"/"));
}
