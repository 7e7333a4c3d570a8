//! Which runtime an agent of this machine has.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use sched::agent::images::pull::Registries;
use sched::agent::runtime::Runtime;
use sched::agent::runtime::docker::{self, Docker};
use sched::agent::runtime::fake::{Fake, Latency};
use sched::agent::runtime::runc::{self, Runc};
use sched::agent::{docker_below, runc_below};

use crate::ctl::failure::Failure;

pub(crate) const DOCKER_SOCKET: &str = "/var/run/docker.sock";
pub(crate) const BRIDGE: &str = "berth0";

/// As the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// A Docker engine if one answers, else runc or crun as root, else fake
    Auto,
    Docker,
    Runc,
    Crun,
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

/// A runtime that can be had.
pub(crate) struct Opened {
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Why there is none that runs anything, if containers are only pretended for want of one.
    pub(crate) lacking: Vec<String>,
}

impl From<Arc<dyn Runtime>> for Opened {
    fn from(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, lacking: Vec::new() }
    }
}

/// Opens the runtime that was chosen, or the best there is.
///
/// # Errors
/// The one that was chosen cannot be had.
pub(crate) async fn open(wanted: &Wanted) -> Result<Opened, Failure> {
    match wanted.choice {
        Choice::Runc => oci(wanted, &["runc"]).map(Opened::from),
        Choice::Crun => oci(wanted, &["crun"]).map(Opened::from),
        Choice::Docker => docker(wanted).await.map(Opened::from),
        Choice::Fake => Ok(fake().into()),
        Choice::Auto => Ok(best(wanted).await),
    }
}

async fn best(wanted: &Wanted) -> Opened {
    let no_engine = match docker(wanted).await {
        Ok(engine) => return engine.into(),
        Err(failure) => failure.message,
    };
    let no_program = match oci(wanted, &runc::PROGRAMS) {
        Ok(runtime) => return runtime.into(),
        Err(failure) => failure.message,
    };
    tracing::warn!(
        "containers are only pretended here, as this machine has no runtime: {no_engine}; \
         {no_program}"
    );
    Opened { runtime: fake(), lacking: vec![no_engine, no_program] }
}

/// By the first of these programs that is here.
fn oci(wanted: &Wanted, programs: &[&str]) -> Result<Arc<dyn Runtime>, Failure> {
    let names = programs.join(" or ");
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::error(format!("{names}: needs root")));
    }
    let program = runc::find_program(programs).ok_or_else(|| {
        let package = programs[0];
        Failure::error(format!("{names}: not in the path (Debian: apt-get install {package})"))
    })?;
    let settings = runc::Settings {
        root: runc_below(&wanted.root),
        program,
        helper: vec![own_program()?.to_string_lossy().into_owned(), "container".into()],
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
        program: own_program()?,
        directory: docker_below(&wanted.root),
    };
    let docker = Docker::connect(settings).await.map_err(|error| Failure::error(error.message))?;
    Ok(Arc::new(docker))
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::error(format!("cannot find this very program: {error}")))
}

/// Nothing takes any time.
fn fake() -> Arc<dyn Runtime> {
    Arc::new(Fake::new(Latency::default()))
}
