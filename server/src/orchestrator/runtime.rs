//! Which runtime an agent of this machine has.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use sched::agent::images::pull::Registries;
use sched::agent::runc_below;
use sched::agent::runtime::Runtime;
use sched::agent::runtime::docker::{self, Docker};
use sched::agent::runtime::fake::{Fake, Latency};
use sched::agent::runtime::runc::{self, Runc};

use crate::ctl::failure::Failure;

pub(crate) const DOCKER_SOCKET: &str = "/var/run/docker.sock";
pub(crate) const BRIDGE: &str = "berth0";

/// As the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// A Docker engine if one answers, else runc as root, else fake
    Auto,
    Docker,
    Runc,
    /// Containers are only pretended
    Fake,
}

/// What to look for, and where.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) choice: Choice,
    pub(crate) root: PathBuf,
    pub(crate) bridge: String,
    pub(crate) docker_socket: PathBuf,
    pub(crate) insecure_registries: Vec<String>,
}

/// Opens the runtime that was chosen, or the best there is.
///
/// # Errors
/// The one that was chosen cannot be had.
pub(crate) async fn open(wanted: &Wanted) -> Result<Arc<dyn Runtime>, Failure> {
    match wanted.choice {
        Choice::Runc => runc(wanted),
        Choice::Docker => docker(wanted).await,
        Choice::Fake => Ok(fake()),
        Choice::Auto => Ok(best(wanted).await),
    }
}

async fn best(wanted: &Wanted) -> Arc<dyn Runtime> {
    let no_engine = match docker(wanted).await {
        Ok(engine) => return engine,
        Err(failure) => failure.message,
    };
    let no_runc = match runc(wanted) {
        Ok(runc) => return runc,
        Err(failure) => failure.message,
    };
    tracing::warn!(
        "containers are only pretended here, as this machine has no runtime: {no_engine}; {no_runc}"
    );
    fake()
}

fn runc(wanted: &Wanted) -> Result<Arc<dyn Runtime>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::error("runc needs root"));
    }
    let settings = runc::Settings {
        root: runc_below(&wanted.root),
        helper: vec![program()?.to_string_lossy().into_owned(), "container".into()],
        bridge: wanted.bridge.clone(),
        registries: Registries { insecure: wanted.insecure_registries.clone() },
    };
    let runc = Runc::open(settings).map_err(|error| Failure::error(error.message))?;
    Ok(Arc::new(runc))
}

async fn docker(wanted: &Wanted) -> Result<Arc<dyn Runtime>, Failure> {
    let settings = docker::Settings {
        socket: wanted.docker_socket.clone(),
        network: wanted.bridge.clone(),
        program: program()?,
    };
    let docker = Docker::connect(settings).await.map_err(|error| Failure::error(error.message))?;
    Ok(Arc::new(docker))
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::error(format!("cannot find this very program: {error}")))
}

/// Nothing takes any time.
fn fake() -> Arc<dyn Runtime> {
    Arc::new(Fake::new(Latency::default()))
}
