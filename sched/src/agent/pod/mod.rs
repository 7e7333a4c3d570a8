//! One pod on its node: what is to be done next, and how it is.
//!
//! [`plan`] and [`status`] are pure: what is wanted, what is observed and what is remembered go in
//! with the time, actions and a status come out. They must never start anything. [`worker`] does
//! what they say, for one pod, and remembers what cannot be observed.
//!
//! Start at [`plan::plan`].

pub(super) mod backoff;
pub(super) mod env;
pub(super) mod events;
pub(super) mod expand;
pub(super) mod hook;
pub(super) mod make;
pub(super) mod memory;
pub(super) mod plan;
pub(super) mod probe;
pub(super) mod spec;
pub(super) mod status;
#[cfg(test)]
mod tests;
mod tls;
pub(super) mod worker;
