//! The data directory before anything is opened in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use raft::vfs::{RealFs, Vfs as _};

use crate::config::Settings;

/// Refuses a directory that holds something else's data. What berth itself wrote there, `raft`
/// judges.
///
/// # Errors
/// One line that names the directory, and what to do with etcd's data.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let dir = &settings.data_dir;
    if dir.exists() && !dir.is_dir() {
        return Err(format!("cannot use directory {}: it is a file", dir.display()));
    }
    if dir.join("member").exists() {
        return Err(format!(
            "{} holds data of etcd, which berth does not read: choose another --data-dir, and copy \
             the keys with `berth mirror` (live) or `berth snapshot import` (from a file)",
            dir.display()
        ));
    }
    Ok(())
}

/// Makes the directories if they are missing, for the owner alone, as etcd does, and their names
/// durable: what is acknowledged later is below them.
///
/// # Errors
/// One line that names the directory.
pub(super) fn prepare(settings: &Settings) -> Result<(), String> {
    create(&settings.data_dir)?;
    if let Some(wal_dir) = &settings.wal_dir {
        create(wal_dir)?;
    }
    Ok(())
}

fn create(dir: &Path) -> Result<(), String> {
    let at = |error: std::io::Error| format!("cannot use directory {}: {error}", dir.display());
    RealFs.create_dir_all(dir).map_err(at)?;
    let mode = fs::metadata(dir).map_err(at)?.permissions().mode() & 0o777;
    if mode != 0o700 {
        tracing::warn!(
            dir = %dir.display(),
            mode = format!("{mode:o}"),
            recommended = "700",
            "others may read this directory"
        );
    }
    Ok(())
}
