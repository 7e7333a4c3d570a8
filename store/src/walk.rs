//! All versions in the order in which they were written, wherever they are.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::persist::records;
use crate::shared::Shared;
use crate::state::State;
use crate::{Entry, Error, Revision};

/// A walk over main revisions, in parts that end with a whole one.
///
/// What is compacted is met as far as it is still there: the caller knows what counts.
pub(crate) struct Walk {
    /// The first revision not walked over yet.
    pub(crate) next: i64,
    to: i64,
}

/// Takes a key, a version, and its value if that is at hand; says whether the part is full.
pub(crate) type Take<'a> = dyn FnMut(&[u8], &Entry, Option<&Bytes>) -> bool + 'a;

impl Walk {
    pub(crate) fn new(from: i64, to: i64) -> Walk {
        Walk { next: from.max(0), to }
    }

    /// Walks on until `take` has enough or everything has been walked over. `check` may refuse
    /// to go on.
    pub(crate) fn part(
        &mut self,
        shared: &Shared,
        check: impl Fn(&State) -> Result<(), Error>,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let mut part = Part { next: self.next, is_full: false, take };
        loop {
            // What was pending may be in the engine by the time it is looked for, but never the
            // other way round: so each round asks anew where the pending part begins.
            let state = shared.state.read();
            check(&state)?;
            let to = self.to.min(state.revision);
            if part.next > to {
                break;
            }
            let first_pending = state.pending.first_revision().unwrap_or(i64::MAX);
            let flow = if first_pending <= part.next {
                part.pending(&state, to)
            } else {
                drop(state);
                part.settled(shared, to.min(first_pending - 1))?
            };
            if flow.is_break() {
                break;
            }
        }
        self.next = part.next;
        Ok(())
    }
}

struct Part<'p, 't> {
    next: i64,
    is_full: bool,
    take: &'p mut Take<'t>,
}

impl Part<'_, '_> {
    /// Breaks when the part is full and this version begins a new revision.
    fn take(&mut self, key: &[u8], entry: &Entry, value: Option<&Bytes>) -> ControlFlow<()> {
        if entry.revision.main > self.next {
            self.next = entry.revision.main;
            if self.is_full {
                return ControlFlow::Break(());
            }
        }
        self.is_full |= (self.take)(key, entry, value);
        ControlFlow::Continue(())
    }

    fn pending(&mut self, state: &State, to: i64) -> ControlFlow<()> {
        let versions = state.pending.versions_from(self.next);
        for written in versions.take_while(|written| written.entry.revision.main <= to) {
            let value = (!written.entry.tombstone).then_some(&written.value);
            self.take(&written.key, &written.entry, value)?;
        }
        self.next = to + 1;
        ControlFlow::Continue(())
    }

    /// What the engine holds up to `to`, which it holds all of.
    fn settled(&mut self, shared: &Shared, to: i64) -> Result<ControlFlow<()>, Error> {
        let from_key = records::version_key(Revision::new(self.next, 0));
        let to_key = records::version_key(Revision::new(to + 1, 0));
        let mut outcome = Ok(ControlFlow::Continue(()));
        shared.engine.scan(&from_key, &to_key, &mut |key, record| {
            let revision = records::revision_of_key(key);
            match revision.and_then(|revision| records::decode_version(revision, record)) {
                Some((key, entry)) => {
                    let flow = self.take(key, &entry, None);
                    outcome = Ok(flow);
                    flow
                }
                None => {
                    let what = format!("a damaged version record {}", key.escape_ascii());
                    outcome = Err(Error::Engine(what));
                    ControlFlow::Break(())
                }
            }
        })?;
        if outcome == Ok(ControlFlow::Continue(())) {
            self.next = to + 1;
        }
        outcome
    }
}
