//! The lock and election services, on one server and on three; they pass on the real etcd too
//! (`BERTH_TEST_SUBJECT=etcd`).

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod cluster;
mod election;
mod lock;
mod user;

use api::etcdserverpb::{LeaseGrantRequest, RangeRequest};
use api::mvccpb::KeyValue;
use api::v3lockpb::{LockRequest, LockResponse};
use testkit::{Clients, bounded, eventually};
use tonic::Status;

/// Long enough for any test.
const LONG_S: i64 = 600;

/// A lease of that id, which its holder must revoke for it to end.
pub(crate) async fn grant(clients: &Clients, id: i64, ttl: i64) {
    let mut lease = clients.lease.clone();
    bounded(lease.lease_grant(LeaseGrantRequest { id, ttl })).await.unwrap();
}

pub(crate) async fn lock(
    clients: &Clients,
    name: &str,
    lease: i64,
) -> Result<LockResponse, Status> {
    let name = name.to_owned().into();
    let locked = bounded(clients.lock.clone().lock(LockRequest { name, lease })).await;
    locked.map(tonic::Response::into_inner)
}

/// The keys under `name/`, the oldest first.
pub(crate) async fn queue(clients: &Clients, name: &str) -> Vec<KeyValue> {
    let range = RangeRequest {
        key: format!("{name}/").into(),
        range_end: format!("{name}0").into(),
        ..Default::default()
    };
    let found = bounded(clients.kv.clone().range(range)).await;
    let mut keys = found.map(|found| found.into_inner().kvs).unwrap_or_default();
    keys.sort_by_key(|kv| kv.create_revision);
    keys
}

/// Waits until so many wait or hold.
pub(crate) async fn queue_of(clients: &Clients, name: &str, count: usize) {
    let what = format!("{count} keys under {name}");
    eventually(&what, 60, async || {
        let keys = queue(clients, name).await;
        if keys.len() == count { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
}
