//! The crate's own recipes: leases, locks, elections, users; on one server, and on three with all
//! endpoints. And a watch that goes on when its member goes away.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions,
    LeaseTimeToLiveOptions, LockOptions, Permission, PermissionType, ProclaimOptions, PutOptions,
    ResignOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use testkit::{Cluster, Server, bounded, eventually};

use crate::subject;

const LONG_S: i64 = 600;
const EVENTS: i64 = 40;
const PATIENCE_S: u64 = 60;

async fn connect(endpoints: &[String], user: Option<&str>) -> Client {
    let options = user.map(|user| ConnectOptions::new().with_user(user, "pw"));
    Client::connect(endpoints, options).await.expect("the server serves")
}

async fn count(client: &mut Client, prefix: &str) -> i64 {
    let all = GetOptions::new().with_prefix().with_count_only();
    bounded(client.get(prefix, Some(all))).await.expect("a range").count()
}

/// A lease that is renewed has all its time again, and takes its keys along.
async fn leases(client: &mut Client) {
    let id = bounded(client.lease_grant(LONG_S, None)).await.expect("a lease").id();
    let held = PutOptions::new().with_lease(id);
    bounded(client.put("leased/a", "v", Some(held))).await.expect("a put");
    let (mut keeper, mut answers) = bounded(client.lease_keep_alive(id)).await.expect("a stream");
    for _ in 0..3 {
        bounded(keeper.keep_alive()).await.expect("a request");
        let answer = bounded(answers.message()).await.expect("no error").expect("no end");
        assert_eq!((answer.id(), answer.ttl()), (id, LONG_S));
    }
    let asked = LeaseTimeToLiveOptions::new().with_keys();
    let left = bounded(client.lease_time_to_live(id, Some(asked))).await.expect("what is left");
    assert_eq!((left.granted_ttl(), left.keys()), (LONG_S, &[b"leased/a".to_vec()][..]));
    assert!(left.ttl() > 0 && left.ttl() <= LONG_S);
    let all = bounded(client.leases()).await.expect("a list");
    assert!(all.leases().iter().any(|lease| lease.id() == id));
    bounded(client.lease_revoke(id)).await.expect("it ends");
    assert_eq!(count(client, "leased/").await, 0);
    assert!(bounded(client.lease_keep_alive(id)).await.is_err(), "it is gone");
}

/// Who comes second has the lock when the first gives it back, and not before.
async fn locks(client: &mut Client) {
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(bounded(client.lease_grant(LONG_S, None)).await.expect("a lease").id());
    }
    let of = |id: i64| Some(LockOptions::new().with_lease(id));
    let first = bounded(client.lock("lock", of(ids[0]))).await.expect("the lock");
    let mut other = client.clone();
    let waiting = of(ids[1]);
    let second = tokio::spawn(async move { other.lock("lock", waiting).await });
    eventually("the second waits", PATIENCE_S, async || {
        let queue = count(&mut client.clone(), "lock/").await;
        if queue == 2 { Ok(()) } else { Err(format!("{queue} in the queue")) }
    })
    .await;
    assert!(!second.is_finished());
    bounded(client.unlock(first.key())).await.expect("it is given back");
    let second = bounded(second).await.expect("no panic").expect("the lock");
    assert_ne!(second.key(), first.key());
    bounded(client.unlock(second.key())).await.expect("it is given back");
    assert_eq!(count(client, "lock/").await, 0);
}

/// A leader is observed, says something else, resigns; then the next one leads.
async fn elections(client: &mut Client) {
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(bounded(client.lease_grant(LONG_S, None)).await.expect("a lease").id());
    }
    let first = bounded(client.campaign("e", "one", ids[0])).await.expect("it leads");
    let first = first.leader().expect("who leads").clone();
    let mut other = client.clone();
    let (name, next) = ("e", ids[1]);
    let second = tokio::spawn(async move { other.campaign(name, "two", next).await });
    let mut observed = bounded(client.observe("e")).await.expect("a stream");
    let mut seen = async || {
        let told = bounded(observed.message()).await.expect("no error").expect("no end");
        told.kv().expect("a key").value_str().expect("text").to_owned()
    };
    assert_eq!(seen().await, "one");
    let leader = ProclaimOptions::new().with_leader(first.clone());
    bounded(client.proclaim("uno", Some(leader))).await.expect("it leads");
    assert_eq!(seen().await, "uno");
    let leader = bounded(client.leader("e")).await.expect("who leads");
    assert_eq!(leader.kv().expect("a key").value(), b"uno");
    bounded(client.resign(Some(ResignOptions::new().with_leader(first)))).await.expect("it ends");
    let second = bounded(second).await.expect("no panic").expect("it leads");
    assert_eq!(seen().await, "two");
    let second = second.leader().expect("who leads").clone();
    bounded(client.resign(Some(ResignOptions::new().with_leader(second)))).await.expect("it ends");
}

/// Users read what their roles let them, and nobody else anything.
async fn users(endpoints: &[String]) {
    let mut client = connect(endpoints, None).await;
    bounded(client.role_add("reader")).await.expect("a role");
    let may_read = Permission::new(PermissionType::Read, "open/").with_prefix();
    bounded(client.role_grant_permission("reader", may_read)).await.expect("a permission");
    bounded(client.role_add("root")).await.expect("a role");
    for (user, role) in [("root", "root"), ("ann", "reader")] {
        bounded(client.user_add(user, "pw", None)).await.expect("a user");
        bounded(client.user_grant_role(user, role)).await.expect("a role");
    }
    bounded(client.auth_enable()).await.expect("auth");
    let mut root = connect(endpoints, Some("root")).await;
    bounded(root.put("open/a", "v", None)).await.expect("root writes");
    let refusal = |error: Error| match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => panic!("{other}"),
    };
    let nobody = bounded(client.get("open/a", None)).await.map_err(refusal);
    assert_eq!(nobody.unwrap_err(), "etcdserver: user name is empty");
    let mut ann = connect(endpoints, Some("ann")).await;
    // Another member may not know of the write yet, but a linearizable read waits for it.
    assert_eq!(bounded(ann.get("open/a", None)).await.expect("ann reads").count(), 1);
    let refused = bounded(ann.put("open/a", "w", None)).await.map_err(refusal);
    assert_eq!(refused.unwrap_err(), "etcdserver: permission denied");
    let stranger = ConnectOptions::new().with_user("ann", "wrong");
    assert!(Client::connect(endpoints, Some(stranger)).await.is_err(), "a wrong password");
    bounded(root.auth_disable()).await.expect("auth off");
}

async fn all(endpoints: &[String]) {
    let mut client = connect(endpoints, None).await;
    leases(&mut client).await;
    locks(&mut client).await;
    elections(&mut client).await;
    users(endpoints).await;
}

/// Proves the recipes on one server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_hold_on_one_server() {
    let server = Server::start(subject(), &["--bcrypt-cost=4"]).await;
    all(&[server.endpoint()]).await;
}

/// Proves them on three, asking any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_hold_on_three_servers() {
    let cluster = Cluster::start(subject(), 3).await;
    all(&cluster.endpoints()).await;
}

/// A watch of `w` from `revision` on, as soon as somebody takes it.
async fn watch(client: &Client, revision: i64) -> WatchStream {
    eventually("a watch", PATIENCE_S, async || {
        let options = WatchOptions::new().with_start_revision(revision);
        let opened = bounded(client.clone().watch("w", Some(options))).await;
        opened.map_err(|error| error.to_string())
    })
    .await
}

/// Follows `w` to its last value, over streams that break: each value that was put, in order.
async fn follow(client: Client) -> Vec<String> {
    let (mut next, mut values) = (1, Vec::new());
    let mut stream = watch(&client, next).await;
    while values.last() != Some(&EVENTS.to_string()) {
        // A member that has gone may say so late, or never.
        let waited = tokio::time::timeout(Duration::from_secs(5), stream.message()).await;
        let Ok(Ok(Some(answer))) = waited else {
            stream = watch(&client, next).await;
            continue;
        };
        assert!(!answer.canceled(), "{answer:?}");
        for event in answer.events() {
            assert_eq!(event.event_type(), EventType::Put);
            let kv = event.kv().expect("a key");
            next = kv.mod_revision() + 1;
            values.push(kv.value_str().expect("text").to_owned());
        }
    }
    values
}

/// Writes `number` after its predecessor, once, however often it has to be asked for.
async fn put(client: &Client, number: i64) {
    let (before, value) = ((number - 1).to_string(), number.to_string());
    eventually("a write succeeds", PATIENCE_S, async || {
        let compare = match number {
            1 => Compare::version("w", CompareOp::Equal, 0),
            _ => Compare::value("w", CompareOp::Equal, before.clone()),
        };
        let txn = Txn::new().when([compare]).and_then([TxnOp::put("w", value.clone(), None)]);
        let done = client.clone().txn(txn.or_else([TxnOp::get("w", None)])).await;
        // A write without an answer may have been made.
        done.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let kvs = eventually("it is read", PATIENCE_S, async || {
        client.clone().get("w", None).await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(kvs.kvs()[0].value_str().expect("text"), value);
}

/// Proves that who follows a key sees each of its values once and in order while every member goes
/// away in turn and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_misses_nothing_over_lost_members() {
    let mut cluster = Cluster::start(subject(), 3).await;
    let options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(2));
    let options = options.with_timeout(Duration::from_secs(3));
    let writer = Client::connect(cluster.endpoints(), Some(options)).await.expect("they serve");
    // Without a time limit, which would end its watches.
    let follower = connect(&cluster.endpoints(), None).await;
    let followed = tokio::time::timeout(Duration::from_secs(300), follow(follower));
    let written = async {
        let mut number = 0;
        for at in 0..cluster.len() {
            for _ in 0..10 {
                number += 1;
                put(&writer, number).await;
            }
            cluster.member_mut(at).kill();
            for _ in 0..3 {
                number += 1;
                put(&writer, number).await;
            }
            cluster.member_mut(at).restart().await;
        }
        while number < EVENTS {
            number += 1;
            put(&writer, number).await;
        }
    };
    let (followed, ()) = tokio::join!(followed, written);
    let values = followed.expect("it ends");
    assert_eq!(values, (1..=EVENTS).map(|value| value.to_string()).collect::<Vec<_>>());
}
