//! etcd's gRPC services over one raft node.
//!
//! A call is checked, becomes a command or a read, and is answered in etcd's words. This room
//! translates: what a request means is `store`'s business, what is durable `raft`'s. It must never
//! answer a write before the node has, nor read ahead of the barrier that a read asked for.
//!
//! Start at [`routes`] and [`Context`], which every service holds; then `kv.rs`. Errors are in
//! [`errors`].

mod auth;
mod authority;
mod caller;
mod cluster;
mod concurrency;
mod context;
pub mod errors;
mod feed;
pub(crate) mod frame;
mod gate;
mod header;
mod health;
mod kv;
mod large_range;
mod lease;
mod maintenance;
mod passwords;
mod proposal;
mod quota;
mod range_stream;
mod reads;
mod reflection;
mod snapshot_stream;
#[cfg(test)]
mod testing;
mod tokens;
mod turns;
mod unary;
pub mod watch;
mod watch_gate;

use std::sync::Arc;

use api::etcdserverpb::auth_server::AuthServer;
use api::etcdserverpb::cluster_server::ClusterServer;
use api::etcdserverpb::encoded_watch_server::WatchServer;
use api::etcdserverpb::kv_server::KvServer;
use api::etcdserverpb::lease_server::LeaseServer;
use api::etcdserverpb::maintenance_server::MaintenanceServer;
use api::v3electionpb::election_server::ElectionServer;
use api::v3lockpb::lock_server::LockServer;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;

pub use authority::Mending;
pub use caller::CommonName;
pub(crate) use cluster::{new_member_id, peer_urls};
pub use context::{Context, Options};
pub use gate::requires_leader;
pub(crate) use proposal::mismatch;
pub use tokens::Tokens;
pub use unary::{Method as UnaryMethod, Reply, Unary};

/// The services, by path. What is for none of them is the caller's to answer.
pub fn routes(context: &Context) -> Router {
    let len_max = context.message_bytes_max();
    let kv = kv::Kv { context: context.clone() };
    let lease = lease::Lease { context: context.clone() };
    let cluster = cluster::Cluster { context: context.clone() };
    let maintenance = maintenance::Maintenance { context: context.clone() };
    let auth = auth::Auth { context: context.clone() };
    let lock = concurrency::Lock { context: context.clone() };
    let election = concurrency::Election { context: context.clone() };
    let (reflection, reflection_alpha) = reflection::services();
    let hub = context.node().hub().clone();
    let watch = watch::WatchService::new(hub, Arc::new(context.clone()));
    let range = {
        let kv = kv.clone();
        move |request| large_range::serve(kv.clone(), request)
    };
    tonic::service::Routes::default()
        .add_service(KvServer::new(kv).max_decoding_message_size(len_max))
        .add_service(WatchServer::new(watch).max_decoding_message_size(len_max))
        .add_service(LeaseServer::new(lease).max_decoding_message_size(len_max))
        .add_service(ClusterServer::new(cluster).max_decoding_message_size(len_max))
        .add_service(MaintenanceServer::new(maintenance).max_decoding_message_size(len_max))
        .add_service(AuthServer::new(auth).max_decoding_message_size(len_max))
        .add_service(LockServer::new(lock).max_decoding_message_size(len_max))
        .add_service(ElectionServer::new(election).max_decoding_message_size(len_max))
        .add_service(health::service())
        .add_service(reflection)
        .add_service(reflection_alpha)
        .into_axum_router()
        .reset_fallback()
        .route(large_range::PATH, any(range))
        .layer(from_fn_with_state(context.clone(), gate::pass))
}
