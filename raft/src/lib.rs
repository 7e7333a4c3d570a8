pub mod vfs;
pub mod wal;
