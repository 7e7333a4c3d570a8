//! How connections from other members are served.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES};

/// Questions that one member may have open at once; it asks on behalf of all its clients.
const STREAMS_MAX: u32 = 1 << 16;

/// A member says something at least this often, for it asks the same.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// How long it may take to answer, perhaps behind a snapshot.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client of HTTP/1, who may ask for the version or the members, may take to send its
/// headers.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(KEEPALIVE_INTERVAL.as_secs() > super::KEEPALIVE_INTERVAL.as_secs());

/// HTTP/2 for members, and HTTP/1 for whoever looks at them.
pub fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        // A member that gives up many questions at once, because this one stood still, is no
        // attacker: its connection must not be closed for that.
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}
