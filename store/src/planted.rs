//! Mistakes that are made on purpose, one at a time, so that the simulator can show that it finds
//! them. Only a build with the feature `planted` can make any: in all others [`is`] is a constant,
//! and what hangs on it is not compiled in.

/// A known mistake. What each of them breaks is in `sim/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Acknowledge what was written, and sync it with the next write.
    AcknowledgeBeforeSync,
    /// Take a record of the log for whole without looking at its CRC.
    SkipCrc,
    /// Vote and forget it.
    ForgetVote,
    /// Commit what too few members have.
    SubQuorum,
    /// Serve reads from a leader that may have been deposed.
    StaleRead,
    /// Propose again what may be in the log already.
    ProposeTwice,
    /// Purge the log before the snapshot is durable.
    PurgeEarly,
    /// Give two changes one revision.
    ReuseRevision,
    /// End a lease and leave its key.
    LeaveLeaseKey,
    /// End leases by the clock of a member that did not hear of keep-alives.
    WrongClock,
    /// Drop an event when a slow watcher catches up.
    DropEvent,
    /// Leave out what was compacted without a word.
    SilentCompaction,
    /// Tell of progress before all events are sent.
    ProgressAhead,
}

/// All of them.
#[cfg(feature = "planted")]
pub const ALL: [Mistake; 13] = [
    Mistake::AcknowledgeBeforeSync,
    Mistake::SkipCrc,
    Mistake::ForgetVote,
    Mistake::SubQuorum,
    Mistake::StaleRead,
    Mistake::ProposeTwice,
    Mistake::PurgeEarly,
    Mistake::ReuseRevision,
    Mistake::LeaveLeaseKey,
    Mistake::WrongClock,
    Mistake::DropEvent,
    Mistake::SilentCompaction,
    Mistake::ProgressAhead,
];

#[cfg(feature = "planted")]
thread_local! {
    static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}

/// From now on everything on this thread makes it.
#[cfg(feature = "planted")]
pub fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}

/// Whether it is being made.
#[cfg(feature = "planted")]
pub fn is(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

/// Never, in a build without mistakes.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_: Mistake) -> bool {
    false
}
