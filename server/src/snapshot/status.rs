//! What is in a backup file.

use std::path::{Path, PathBuf};

use clap::Args;
use raft::restore::BackupSummary;

use super::Outcome;
use super::etcd::{self, Etcd, EtcdStatus};
use crate::ctl::args::Format;
use crate::ctl::output::{fields, json, simple, table};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// What `snapshot save` wrote
    file: PathBuf,
    /// set the output format
    #[arg(short = 'w', long, default_value = "simple")]
    write_out: Format,
}

impl Status {
    pub(super) fn run(&self) -> Outcome {
        status(&self.file, self.write_out)
    }
}

/// Prints what is in `file`.
pub(crate) fn status(file: &Path, format: Format) -> Outcome {
    let summary = summary(file)?;
    let row = row(&summary);
    match format {
        Format::Simple => println!("{}", row.join(", ")),
        Format::Table => {
            table::print(&["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"], vec![row.to_vec()]);
        }
        Format::Fields => {
            fields::field("Hash", summary.hash);
            fields::field("Revision", summary.revision);
            fields::field("Keys", summary.records);
            fields::field("Size", summary.bytes);
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
fn summary(file: &Path) -> Result<BackupSummary, String> {
    if !etcd::is_etcds(file) {
        return raft::restore::inspect(file).map_err(|error| error.to_string());
    }
    let EtcdStatus { hash, revision, keys, bytes } = Etcd::open(file, true)?.status()?;
    Ok(BackupSummary { hash, revision, records: keys, bytes })
}

fn row(summary: &BackupSummary) -> [String; 4] {
    [
        format!("{:x}", summary.hash),
        summary.revision.to_string(),
        summary.records.to_string(),
        simple::size(i64::try_from(summary.bytes).unwrap_or(i64::MAX)),
    ]
}
