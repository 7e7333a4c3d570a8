//! A backup of berth as a snapshot of etcd.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use super::Outcome;
use super::etcd;
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// What `snapshot save` wrote
    file: PathBuf,
    /// For whom
    #[arg(long, default_value = "etcd")]
    format: Format,
    /// Where to write it; must not exist
    #[arg(long)]
    out: PathBuf,
    /// Ignore snapshot integrity hash value (required if copied from data directory)
    #[arg(long)]
    skip_hash_check: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// `etcdctl snapshot restore` of etcd 3.4 and `etcdutl snapshot restore` of later ones
    Etcd,
}

impl Export {
    pub(super) fn run(&self) -> Outcome {
        let Format::Etcd = self.format;
        let output = Output::create(&self.out)?;
        let summary = etcd::write(&self.file, self.skip_hash_check, BufWriter::new(&output.file))?;
        let sealed = seal(&output.file);
        sealed.map_err(|error| format!("{} cannot be written: {error}", self.out.display()))?;
        output.publish()?;
        if summary.v2_nodes > 0 {
            eprintln!(
                "Warning: {} keys and directories of the v2 API are left out: a snapshot of etcd has \
                 no place for them. Read them from the running server (GET \
                 /v2/keys/?recursive=true) if they are still needed",
                summary.v2_nodes
            );
        }
        println!(
            "Exported revision {} to {}; next: etcdutl snapshot restore {}",
            summary.revision,
            self.out.display(),
            self.out.display()
        );
        Ok(())
    }
}

/// Adds the SHA-256 of all that is in the file.
fn seal(mut file: &File) -> io::Result<()> {
    const READ_BYTES: usize = 256 << 10;
    file.rewind()?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return file.write_all(&digest.finalize());
        }
        digest.update(&buffer[..count]);
    }
}
