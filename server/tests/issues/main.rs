//! What users, Jepsen and etcd's own suites once found in etcd, each by the number of its issue
//! there: none of it may be found here.
//!
//! Those that need a cluster in trouble are in the `cluster` tests and in the simulator as well;
//! here each is brought about on purpose.

mod compaction;
mod crashes;
mod steps;
mod watching;
