//! What users, Jepsen and etcd's own suites once found in etcd, each by the number of its issue
//! there: none of it may be found here.
//!
//! Here each is brought about on purpose, on one server or on a cluster in trouble; in the `cluster`
//! tests, in the simulator and under `berth-chaos` they would show by chance as well. 17780 needs a
//! crash at a place inside of a compaction: it is in the `failpoints` tests.

mod auth;
mod behind;
mod compaction;
mod crashes;
mod halves;
mod pauses;
mod starving;
mod steps;
mod told;
mod watching;
mod writers;
