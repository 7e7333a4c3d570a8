//! A backup as the beginning of a new cluster.
//!
//! Every member is restored by itself, from the same file and with the same members, and all of
//! them must come out with the same past: so whatever is written here follows from the file and the
//! [`Plan`] alone. That past is one snapshot which holds everything, the new membership included,
//! and a log that begins right behind it: as if the entry after the last one of the backup had set
//! the membership. All members are voters in it, nobody has to be initialized, and the first
//! election is one term later.
//!
//! A restore that does not come to its end leaves nothing that a server would start from. Start at
//! [`restore`]; the order on disk is in `place.rs`.

mod backup;
mod build;
mod foreign;
mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use backup::{BackupSummary, inspect};
pub use foreign::{Origin, compose, dissect};
pub(crate) use place::refuse_unfinished;

use crate::config::InitialMember;
use crate::error::Error;
use crate::vfs::RealFs;
use backup::Source;
use place::Place;

/// Who is restored, and where to.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cluster_id: u64,
    /// One of `members`.
    pub member_id: u64,
    /// A number at random, as [`crate::Config::nonce`]: it tells this data directory from all others.
    pub incarnation: u64,
    /// All members of the new cluster.
    pub members: Vec<InitialMember>,
    /// Must be missing or empty.
    pub data_dir: PathBuf,
    /// Must be missing or empty, as [`crate::Config::wal_dir`]; may lie within `data_dir`.
    pub wal_dir: PathBuf,
    /// How much the revision grows by.
    pub bump_revision: i64,
    /// All revisions before the (grown) one are compacted.
    pub mark_compacted: bool,
    /// Take a file that has no SHA-256 at its end, or a wrong one: a snapshot file out of a data
    /// directory. The checksums within it are verified all the same.
    pub skip_hash_check: bool,
}

/// Makes directories for one member of a new cluster from the file `backup`. Blocks for as long as
/// that takes.
///
/// # Errors
/// [`Error::Refused`] says what is wrong with the file, the directories or the plan; the
/// directories are then as they were.
pub fn restore(backup: &Path, plan: &Plan) -> Result<BackupSummary, Error> {
    plan.check()?;
    let source = Source::open(backup)?;
    let place = Place::prepare(&plan.data_dir, &plan.wal_dir)?;
    let staged = Plan { data_dir: place.data_dir(), wal_dir: place.wal_dir(), ..plan.clone() };
    let summary = build::build(Arc::new(RealFs), source, &staged)?;
    place.publish()?;
    Ok(summary)
}

impl Plan {
    fn check(&self) -> Result<(), Error> {
        let refused = |message: &str| Err(Error::Refused(message.into()));
        if !self.members.iter().any(|member| member.id == self.member_id) {
            return refused("this member is not one of the new cluster's members");
        }
        if self.bump_revision < 0 {
            return refused("a revision can only grow");
        }
        Ok(())
    }
}
