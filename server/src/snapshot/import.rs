//! A snapshot of etcd as a backup of berth.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::etcd::{Etcd, Imported};
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// What etcd's `snapshot save` wrote, or member/snap/db of a data directory of etcd that does
    /// not run
    file: PathBuf,
    /// Where to write the backup, for `berth snapshot restore`; must not exist
    #[arg(long)]
    out: PathBuf,
    /// Ignore snapshot integrity hash value (required if copied from data directory)
    #[arg(long)]
    skip_hash_check: bool,
}

impl Import {
    pub(super) fn run(&self) -> Outcome {
        let etcd = Etcd::open(&self.file, self.skip_hash_check)?;
        let output = Output::create(&self.out)?;
        let mut buffered = BufWriter::new(&output.file);
        let imported = etcd.import(&mut buffered)?;
        let flushed = buffered.flush();
        flushed.map_err(|error| format!("{} cannot be written: {error}", self.out.display()))?;
        drop(buffered);
        output.publish()?;
        self.report(&imported);
        Ok(())
    }

    fn report(&self, imported: &Imported) {
        println!(
            "Imported revision {}: versions of keys: {}, leases: {}, users: {}; next: berth snapshot \
             restore {}",
            imported.revision,
            imported.versions,
            imported.leases,
            imported.users,
            self.out.display()
        );
        if imported.orphans > 0 {
            println!(
                "{} keys were under leases that do not exist: they have none",
                imported.orphans
            );
        }
    }
}
