//! How a log is opened, and the bounds that the format relies on.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// A segment is closed at the first write that ends beyond this many bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// The file is extended by zeros in steps of this many bytes.
pub const ALLOCATE_BYTES_DEFAULT: u64 = 4 << 20;
/// Recent entries kept in memory, by bytes.
pub const CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// The largest log id and payload of one entry together, in bytes.
pub const RECORD_BYTES_MAX: usize = 256 << 20;
/// One write takes what waits until it holds this many bytes; the rest goes into the next.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// The largest opaque log id, in bytes.
pub const LOG_ID_BYTES_MAX: usize = u16::MAX as usize;
/// The largest metadata given at creation, in bytes.
pub const METADATA_BYTES_MAX: usize = 4096;
/// The largest `segment_bytes` that may be asked for: offsets are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// The largest `allocate_bytes` that may be asked for.
pub const ALLOCATE_BYTES_MAX: u64 = 256 << 20;

// A segment that is just short of its limit still takes one batch, or one record that is larger
// than a batch, and the zeros behind it: the offsets must fit in 32 bits.
const _: () = assert!(
    SEGMENT_BYTES_MAX + (BATCH_BYTES_MAX + RECORD_BYTES_MAX) as u64 + ALLOCATE_BYTES_MAX
        < u32::MAX as u64
);

/// How a log is opened. Take [`Options::default`] and change what must differ.
#[derive(Clone)]
pub struct Options {
    /// A segment is closed at the first write that ends beyond this many bytes.
    pub segment_bytes: u64,
    /// The file is extended by zeros in steps of this many bytes.
    pub allocate_bytes: u64,
    /// Recent entries kept in memory, by bytes; entries that are not yet written are kept whatever
    /// this says.
    pub cache_bytes: usize,
    /// Never sync. A power failure may then lose or corrupt the log.
    pub no_fsync: bool,
    /// Salts the segments that this opening creates. Must differ from opening to opening in
    /// production (the default draws it from the system); a simulator fixes it.
    pub salt_seed: u64,
    /// Told about every write.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            allocate_bytes: ALLOCATE_BYTES_DEFAULT,
            cache_bytes: CACHE_BYTES_DEFAULT,
            no_fsync: false,
            salt_seed: RandomState::new().hash_one("berth wal"),
            observer: None,
        }
    }
}

/// Told about every write, on the writer's thread; the place for histograms. It keeps its own time:
/// the log reads no clock.
pub trait Observer: Send + Sync + 'static {
    /// A write of `bytes` that carries `operations` of the callers begins.
    fn write_started(&self, bytes: usize, operations: usize);

    /// The bytes are handed to the system, the sync begins.
    fn sync_started(&self);

    /// The sync succeeded; the callers are told next.
    fn sync_finished(&self);
}
