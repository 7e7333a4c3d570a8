//! What the planners read in objects: selectors, the state of pods, whether a node fits, names.
//!
//! Pure functions on Kubernetes' types, without a clock: `now` is handed in.

pub(crate) mod names;
pub(crate) mod nodes;
pub(crate) mod owners;
pub(crate) mod pods;
pub(crate) mod scale;
pub(crate) mod selectors;
#[cfg(test)]
pub(crate) mod testing;
