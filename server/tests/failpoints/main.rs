//! Crashes at every failpoint: the process ends there, and what was acknowledged is there after it.
//!
//! This needs a berth with the feature `failpoints`. Points are set as a harness for etcd sets
//! them, over HTTP or in the environment; then a load passes the point, again and again, until the
//! process is gone. Start at `crash.rs`; `alone.rs`, `snapshot.rs` and `several.rs` have the points
//! that a member passes alone, as one that joins, and as one of several; `compaction.rs` has the one
//! of etcd's known bugs (`../issues/`) that needs a crash at a certain place.

mod acknowledged;
mod alone;
mod compaction;
mod crash;
mod gofail;
mod interface;
mod load;
mod several;
mod snapshot;

/// Proves that no point is without its crash: a name that were only listed would promise something.
#[test]
fn every_point_that_is_listed_is_crashed_at() {
    let groups = [alone::POINTS, &[alone::AT_START], several::POINTS, snapshot::POINTS];
    let mut names: Vec<&str> = groups.concat().iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, berth::failpoints::NAMES);
}
