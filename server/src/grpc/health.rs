//! `grpc.health.v1.Health`: this member serves.

use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthService, health_reporter};

/// `SERVING` for the server as a whole, which is the name that etcd's clients ask for. It stays so
/// until the process ends: nothing, defragmentation included, makes a member stop serving.
pub(super) fn service() -> HealthServer<HealthService> {
    // The library starts with the empty name as SERVING.
    let (reporter, service) = health_reporter();
    drop(reporter);
    service
}
