//! Clusters of real processes that form, lose members, are cut apart, change, and go on.
//!
//! Every scenario runs under a load whose writes and reads are recorded. At its end all members
//! have to hold the same, every acknowledged write has to be there on each of them, and all calls
//! have to be linearizable (see `workload`). Partitions are made in network namespaces, which
//! need root: a scenario that this machine does not permit says so on a line with `SKIPPED`.
//!
//! `BERTH_CLUSTER_KILLS` says how often the leader is killed (50 in a full run).
//! `BERTH_TEST_SUBJECT=etcd` runs the same scenarios on the real etcd, which proves them.

mod bootstrap;
mod damage;
mod differing;
mod etcdctl;
mod failover;
mod flaws;
mod forming;
mod learners;
mod leases;
mod membership;
mod minority;
mod network;
mod pauses;
mod rolling;
mod session;
mod watches;
mod workload;
