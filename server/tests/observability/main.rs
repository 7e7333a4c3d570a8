//! What operators look at: the series of etcd's dashboards and alerts, profiles, traces.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod dashboards;
mod page;
mod profile;
mod slow;
mod traces;
