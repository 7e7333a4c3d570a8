//! Messages between members over gRPC: `raft`'s transport, and the service at its other end.
//!
//! This room carries and never looks inside: who may say what is decided by `raft`, which gets
//! every message whole. What it must keep: a message that is reported as unreachable was not
//! delivered, for callers send those again.
//!
//! Start at [`GrpcTransport`] for the way out, at [`routes`] for the way in.

mod abandon;
mod accept;
mod connection;
mod count;
mod dial;
mod link;
mod presence;
mod service;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

pub use accept::http;
pub use service::routes;
pub use transport::{GrpcTransport, Options};

use std::time::Duration;

use crate::config::REQUEST_BYTES_MAX;

/// One message on the wire, encoded. A batch of entries is about 1 MiB, but a batch is at least
/// one entry, and an entry may be as large as the largest request, with what is written about it.
pub const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX as usize + (1 << 20);

/// Bytes that one stream may send before the receiver has taken them: some batches of entries, so
/// that the sender does not wait for each to be taken. A snapshot to a slow receiver costs both
/// sides as much.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection together: one that is stuck leaves room for others.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// One HTTP/2 frame: large, for there is nobody on the connection whom it could hold up.
pub const FRAME_BYTES_MAX: u32 = 256 << 10;

const _: () = assert!(STREAM_WINDOW_BYTES * 2 <= CONNECTION_WINDOW_BYTES);
const _: () = assert!(FRAME_BYTES_MAX <= STREAM_WINDOW_BYTES);

/// How long one address may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// How long the TLS handshake on it may take: there is arithmetic to do on both sides.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection on which nothing came for so long is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long it may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The same while a snapshot is on its way, which the question has to queue behind.
const SNAPSHOT_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
