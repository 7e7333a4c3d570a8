//! What is in a backup file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use raft::restore::BackupSummary;

use super::Outcome;
use super::etcd::{self, Etcd, EtcdStatus};
use crate::ctl::output::{json, simple, table};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// What `snapshot save` wrote
    file: PathBuf,
    /// set the output format
    #[arg(short = 'w', long, default_value = "simple")]
    write_out: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Simple,
    Json,
    Table,
}

impl Status {
    pub(super) fn run(&self) -> Outcome {
        let summary = self.summary()?;
        let row = row(&summary);
        match self.write_out {
            Format::Simple => println!("{}", row.join(", ")),
            Format::Table => {
                table::print(&["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"], vec![row.to_vec()]);
            }
            Format::Json => json::print(&json::full_object([
                ("hash", summary.hash.into()),
                ("revision", summary.revision.into()),
                ("totalKey", summary.records.into()),
                ("totalSize", summary.bytes.into()),
            ])),
        }
        Ok(())
    }

    /// Of etcd's files it is what etcd's own tool says.
    fn summary(&self) -> Result<BackupSummary, String> {
        if !etcd::is_etcds(&self.file) {
            return raft::restore::inspect(&self.file).map_err(|error| error.to_string());
        }
        let EtcdStatus { hash, revision, keys, bytes } = Etcd::open(&self.file, true)?.status()?;
        Ok(BackupSummary { hash, revision, records: keys, bytes })
    }
}

fn row(summary: &BackupSummary) -> [String; 4] {
    [
        format!("{:x}", summary.hash),
        summary.revision.to_string(),
        summary.records.to_string(),
        simple::size(i64::try_from(summary.bytes).unwrap_or(i64::MAX)),
    ]
}
