//! The tree of the v2 API: files and directories with indexes and deadlines, and the last thousand
//! changes for those who watch.
//!
//! It lies beside the keys of the v3 API and shares nothing with them but the log, the mark and
//! the engine: a v2 write takes no revision, makes no v3 event, and enters no hash of keys. Time
//! comes with the command. Invariant: each index belongs to exactly one change, and the history has
//! the newest of them without a gap.
//!
//! Start at [`tree::Tree`], then `write.rs`, which says what a write does; reads are in `view.rs`.

mod counts;
mod event;
mod expire;
mod history;
mod listing;
mod node;
mod path;
pub(crate) mod records;
mod refusal;
#[cfg(test)]
mod tests;
mod tree;
mod view;
mod write;

pub(crate) use counts::Counters;
pub use counts::{Counts, Tally};
pub use event::{Action, Event, Seen};
pub use history::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, Interest, Past};
pub use listing::{Listing, Step};
pub use path::{DEPTH_MAX, PATH_BYTES_MAX, Path};
pub use refusal::{Reason, Refusal};
pub(crate) use tree::{Frozen, Tree};
pub use view::View;
