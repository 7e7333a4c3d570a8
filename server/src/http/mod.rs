//! The plain HTTP endpoints beside gRPC: version, health, liveness, readiness, metrics.
