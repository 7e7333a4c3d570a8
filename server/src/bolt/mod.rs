//! bbolt's database files, which etcd's snapshots are: read without trust, written in one go.
//!
//! This room knows pages, trees and buckets, and must never know what etcd keeps in them (that is
//! `snapshot/etcd/`). The reader maps no file, holds one path of pages and believes no number in
//! them; the writer wants keys in order and holds one page of each level. It depends on nothing but
//! the standard library, so that the fuzzer can take it alone.
//!
//! Start at [`Db`] to read and at [`Builder`] to write; `page.rs` has the layout.

mod page;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Bucket, Db, ReadAt};
pub use write::{Builder, Tree};

/// What bbolt, and so etcd, writes on every machine whose memory has pages of 4 KiB.
pub const PAGE_BYTES: usize = 4096;
