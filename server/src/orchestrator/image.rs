//! `berth image`: the images of the `runc` runtime on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sched::agent::images::{Images, Reference};

use super::agent::DEFAULT_ROOT;
use crate::ctl::failure::EXIT_BAD_ARGS;

/// Images that `berth agent --runtime runc` runs containers of.
#[derive(Debug, Parser)]
#[command(name = "berth image", disable_version_flag = true)]
struct Flags {
    /// The agent's directory
    #[arg(long, global = true, default_value = DEFAULT_ROOT, value_name = "DIR")]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads an archive of `docker save` or one in OCI layout, compressed or not
    Import {
        file: PathBuf,
        /// What to call an image that has no name in the archive
        #[arg(long, value_name = "NAME[:TAG]")]
        name: Option<Reference>,
    },
    /// Lists what is here
    List,
}

/// Runs `berth image ARGS`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let args = std::iter::once(OsString::from("berth image")).chain(args);
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Printing help can only fail when nobody reads it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_BAD_ARGS } else { 0 });
        }
    };
    let outcome = match &flags.command {
        Command::Import { file, name } => import(&flags.root, file, name.as_ref()),
        Command::List => list(&flags.root),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(root: &Path) -> Result<Images, sched::agent::runtime::Error> {
    Images::open(&sched::agent::images_below(root))
}

fn import(
    root: &Path,
    file: &Path,
    name: Option<&Reference>,
) -> Result<(), sched::agent::runtime::Error> {
    for reference in open(root)?.import(file, name)? {
        println!("{reference}");
    }
    Ok(())
}

fn list(root: &Path) -> Result<(), sched::agent::runtime::Error> {
    for (reference, image) in open(root)?.all()? {
        println!("{reference}\t{}\t{} layers", image.id, image.layers.len());
    }
    Ok(())
}
