//! Backups and the way back: files saved by clients, restored into new members; live mirrors.
//!
//! Everything goes through the binary's command line and the wire.

mod etcd;
mod mirror;
mod restore;
mod tool;
