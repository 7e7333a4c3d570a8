//! What clients did and saw, and whether it can all be true.
//!
//! A [`Ledger`] holds what was attempted and acknowledged, a [`Follower`] watches everything and
//! keeps the [`History`], a [`Timeline`] knows when each call began and ended. Their checks
//! together say whether nothing acknowledged was lost, nothing happened twice or out of nothing,
//! and whether every linearizable call was where real time says it has to be.

mod events;
mod follower;
mod ledger;
mod timeline;

pub use events::History;
pub use follower::{Follower, Position};
pub use ledger::{Ledger, Promises, Write};
pub use timeline::Timeline;
