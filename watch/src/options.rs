//! The bounds of the hub.

/// Bytes of events that wait in one stream before its watchers fall behind.
const BUFFER_BYTES: usize = 4 << 20;
/// Bytes of recent events kept in memory for watchers that fell behind or come back.
const RING_BYTES: usize = 32 << 20;
/// Bytes of events published and not yet taken by the hub's task.
const INBOX_BYTES: usize = 32 << 20;
/// Bytes of events that one catch-up slice reads.
const SLICE_BYTES: usize = 512 << 10;
/// Revisions that one catch-up slice looks at (etcd: `watchBatchMaxRevs`).
const SLICE_REVISIONS: u32 = 1000;
/// Watchers that one catch-up slice serves.
pub(crate) const SLICE_WATCHERS: usize = 4096;
/// Answers to requests that may wait in one stream before it should not take another request.
pub(crate) const CONTROLS_MAX: usize = 1024;
/// etcd's default: `max-request-bytes` (1.5 MiB) and its gRPC overhead (512 KiB).
const RESPONSE_BYTES: usize = (1536 + 512) << 10;
/// etcd's default for `watch-progress-notify-interval`.
const PROGRESS_INTERVAL_MS: u64 = 10 * 60 * 1000;

const _: () = assert!(SLICE_BYTES < BUFFER_BYTES / 2, "a stream with room takes a whole slice");
const _: () = assert!(SLICE_BYTES < RING_BYTES);

/// What the owner may choose. Use `..Options::default()` for the rest.
#[derive(Copy, Clone, Debug)]
pub struct Options {
    /// Bytes of events that may wait in one stream; one more response may pass it.
    pub buffer_bytes_per_stream: usize,
    /// Bytes of recent events kept for catching up without reading the store.
    pub ring_bytes: usize,
    /// Bytes of published events that may wait for the hub; past it they are dropped and read
    /// back from the store.
    pub inbox_bytes: usize,
    /// Bytes of events that one slice of catching up reads; one revision is always read whole.
    pub slice_bytes: usize,
    /// Revisions that one slice of catching up looks at; at least one.
    pub slice_revisions: u32,
    /// Responses of watchers with `fragment` are split at this size.
    pub max_response_bytes: usize,
    /// How often an idle watcher with `progress_notify` hears of it, plus up to a tenth.
    pub progress_interval_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            buffer_bytes_per_stream: BUFFER_BYTES,
            ring_bytes: RING_BYTES,
            inbox_bytes: INBOX_BYTES,
            slice_bytes: SLICE_BYTES,
            slice_revisions: SLICE_REVISIONS,
            max_response_bytes: RESPONSE_BYTES,
            progress_interval_ms: PROGRESS_INTERVAL_MS,
        }
    }
}
