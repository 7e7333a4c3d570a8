//! `berth container`: what the agent starts beside containers. Not for people.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use sched::agent::runtime::docker::guard;
use sched::agent::runtime::runc::shim;

/// Runs `shim DIRECTORY`, `pause [HOSTNAME]` or `guard DIRECTORY SOCKET NETWORK` to its end.
pub fn run(args: &[OsString]) -> ExitCode {
    let outcome = match args {
        [kind, directory] if kind == "shim" => shim::run(PathBuf::from(directory)),
        [kind, hostname] if kind == "pause" => shim::pause(Some(&hostname.to_string_lossy())),
        [kind] if kind == "pause" => shim::pause(None),
        [kind, directory, socket, network] if kind == "guard" => {
            let network = network.to_string_lossy().into_owned();
            guard::run(PathBuf::from(directory), PathBuf::from(socket), network)
        }
        _ => Err("berth container is what `berth agent` starts, and nothing else".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("Error: {reason}");
            ExitCode::FAILURE
        }
    }
}
