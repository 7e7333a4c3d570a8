//! Who set which field: the rules by which server-side apply merges, and `metadata.managedFields`.
//!
//! A set of fields ([`FieldSet`]) is a tree of [`Step`]s; each manager has one ([`Owners`]). A write
//! takes what it changes ([`update`]); applying takes what it names, lets go of what it no longer
//! names, and conflicts with others who want another value ([`apply`]). The rules are those of
//! Kubernetes (structured-merge-diff), with a table of lists and objects in place of its schemas.
//!
//! This room is pure: no store, no clock, no HTTP. It must never change a field that neither the
//! applied document nor what its manager applied before names. Objects that only controllers write
//! have no owners and cost nothing; see [`update`].
//!
//! Start at `apply.rs`; `schema.rs` says which lists are merged.

mod apply;
mod changes;
mod collect;
mod conflict;
mod merge;
mod owners;
mod remove;
mod schema;
mod set;
mod step;
#[cfg(test)]
mod tests;
mod update;

pub(super) use apply::{Applied, Takes, apply};
pub(super) use changes::same;
pub(super) use collect::check;
pub(super) use conflict::Conflict;
pub(super) use owners::{Operation, Owners, Writer};
pub(super) use set::FieldSet;
pub(super) use update::update;
