//! The store as its clients see it: a small trait, a gRPC client behind it, and a follower that
//! keeps up with a prefix whatever happens in between.
//!
//! It must never be told which store answers, and never promise more than etcd does: a write whose
//! answer is lost may have happened.
//!
//! Start at [`Kv`]; [`grpc`] speaks to real endpoints, [`follow`] turns list and watch into one
//! stream of changes without gap or repeat, [`turn`] is etcd's recipe for locks and elections.

mod credentials;
mod error;
pub mod follow;
pub mod grpc;
mod keys;
mod lease;
mod pause;
#[cfg(test)]
pub(crate) mod testing;
pub mod turn;

use std::sync::Arc;

use api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchResponse,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use self::lease::Lease;
pub use api::etcdserverpb::compare::TargetUnion as Target;
pub use credentials::Credentials;
pub use error::{Error, Kind, Result};
pub use keys::{
    created_at, delete, get, is_absent, leased_by, prefix_end, put, put_keeping_lease, range,
    unchanged_since,
};
pub(crate) use pause::Pause;

/// What a call ends with.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// The answers of one watch, in order. It ends with an error, never silently.
pub type Watch = BoxStream<'static, Result<WatchResponse>>;

/// A store, shared by everything that uses it.
pub type Store = Arc<dyn Kv>;

/// A client of an etcd-compatible store. All calls are bounded in time and cancel safe: a call
/// that is dropped may still have taken effect.
///
/// *To ensure correctness*, an implementation answers [`Kv::range`] linearizably unless the request
/// asks otherwise, sends a write at most once, and gives the events of a watch in the order of
/// revisions, all of one revision in one answer.
pub trait Kv: Send + Sync + 'static {
    /// Reads a key or a range of keys.
    fn range(&self, request: RangeRequest) -> Answer<'_, RangeResponse>;

    /// Writes one key.
    fn put(&self, request: PutRequest) -> Answer<'_, PutResponse>;

    /// Deletes a key or a range of keys.
    fn delete_range(&self, request: DeleteRangeRequest) -> Answer<'_, DeleteRangeResponse>;

    /// Compares and does one of two things, all at one revision.
    fn txn(&self, request: TxnRequest) -> Answer<'_, TxnResponse>;

    /// A new lease.
    fn lease_grant(&self, request: LeaseGrantRequest) -> Answer<'_, LeaseGrantResponse>;

    /// Renews a lease and returns the seconds it has from now on; 0: it is gone.
    fn lease_keep_alive(&self, id: i64) -> Answer<'_, i64>;

    /// Ends a lease and deletes its keys. A lease that is gone already is no error.
    fn lease_revoke(&self, id: i64) -> Answer<'_, ()>;

    /// What is left of a lease; `ttl` is -1 if it is gone.
    fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Answer<'_, LeaseTimeToLiveResponse>;

    /// Starts one watch; it is in place when this returns. Answers without events say how far the
    /// member that serves it has come.
    fn watch(&self, request: WatchCreateRequest) -> Answer<'_, Watch>;
}
