//! Where the applied state is written down: an ordered map of byte strings.
//!
//! The engine holds nothing that the snapshot and the log could not rebuild. It must never be
//! asked to make an acknowledged write durable, and nothing outside this folder knows which one
//! it is. Start at [`Engine`].

use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;

/// Changes that become visible, and survive, together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key and new value; `None` deletes. A later change of a key wins over an earlier one.
    pub ops: Vec<(Bytes, Option<Bytes>)>,
}

/// An ordered map of byte strings with atomic batches.
///
/// To ensure correctness:
/// - [`Engine::apply`] is atomic, also across a crash: after one, either all of a batch is there
///   or nothing of it, and no batch without every earlier one.
/// - What [`Engine::flush`] returned for survives a crash.
/// - After an error nothing may be assumed: the owner stops and rebuilds.
pub trait Engine: Send + Sync + 'static {
    /// The value of `key`, if it has one.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// Visits the pairs with `from <= key < to` in order, until `visit` breaks. It need not be a
    /// snapshot: a batch applied meanwhile may be seen in part.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()>;

    /// Applies all of `batch`.
    fn apply(&self, batch: Batch) -> io::Result<()>;

    /// Makes everything applied so far durable.
    fn flush(&self) -> io::Result<()>;

    /// Removes everything, durably.
    fn clear(&self) -> io::Result<()>;

    /// Space taken, in bytes.
    fn size_bytes(&self) -> io::Result<u64>;
}
