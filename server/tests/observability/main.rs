//! What operators look at: the series of etcd's dashboards and alerts, profiles, traces, slow requests;
//! and what tools learn by reflection.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod dashboards;
mod names;
mod page;
mod profile;
mod reflection;
mod slow;
mod traces;
