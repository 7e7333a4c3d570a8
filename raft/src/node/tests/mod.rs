//! The node over files that lose power and an engine that can be lost.

mod cluster;
mod corruption;
mod damage;
mod faults;
mod home;
mod installing;
mod later;
mod leases;
mod lives;
mod members;
mod observed;
mod refusals;
mod snapshots;
mod switchboard;
