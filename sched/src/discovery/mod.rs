//! Discovery: instances register under a lease, expire with it, and are found by DNS, by templates
//! and by whoever watches.
//!
//! Everything rests on a layout of keys that any client can write with two calls
//! (`docs/discovery.md`). This room must never be needed for being found: it is one writer and one
//! reader of that layout among others. What it knows of the store comes from followers, so nothing
//! that is asked of it waits for the store.
//!
//! Start at [`layout`], then [`register`] (writes it), [`catalog`] (reads it), [`dns`] and
//! [`template`] (answer from it), [`seal`] (values that only some can read).

pub mod catalog;
pub mod checks;
pub mod dns;
mod gauges;
mod group;
pub mod layout;
pub mod register;
pub mod seal;
mod shell;
pub mod survey;
pub mod template;
