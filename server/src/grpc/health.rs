//! `grpc.health.v1.Health`: this member serves.

use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::health_reporter;

/// `SERVING` for the server as a whole, which is the name that etcd's clients ask for. It stays so
/// until the process ends: nothing, defragmentation included, makes a member stop serving.
pub(super) fn service() -> HealthServer<impl Health> {
    // The library starts with the empty name as SERVING.
    let (reporter, service) = health_reporter();
    drop(reporter);
    service
}
