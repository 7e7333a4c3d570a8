//! What the runtime keeps on disk, and where: the contract between agent and shim.
//!
//! ```text
//! ROOT/images/                        unpacked layers
//! ROOT/addresses/10.244.0.2           the uid of the pod that has it
//! ROOT/fence                          until when fenced pods may run: milliseconds since the machine
//!                                     booted, 8 bytes, the lowest first; written with each renewal
//! ROOT/pods/UID/sandbox.json          what its containers share
//! ROOT/pods/UID/fenced                is there if the pod is
//! ROOT/pods/UID/NAME_ATTEMPT/         one container:
//!      container.json                   what it is, written before the shim starts
//!      config.json rootfs/ upper/ work/ the bundle
//!      started.json                     written by the shim: it runs
//!      exit.json                        written by the shim: it has ended, and how
//!      log/current log/current.1        what it says
//! ROOT/state/                         the OCI runtime's own
//! ```

use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agent::runtime::process::Process;
use crate::agent::runtime::{ContainerSpec, Exit, SandboxSpec};

/// What the containers of a pod share, once it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) spec: SandboxSpec,
    pub(super) created_at: Timestamp,
    /// Holds the namespaces; `None`: it uses the node's.
    pub(super) pause: Option<Process>,
    pub(super) address: Option<std::net::Ipv4Addr>,
    pub(super) is_stopped: bool,
}

/// A container, as the shim must know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) spec: ContainerSpec,
    pub(super) image_id: String,
    pub(super) created_at: Timestamp,
    /// The OCI runtime's program, its state's directory, the node's fence, and what the container is
    /// called.
    pub(super) program: PathBuf,
    pub(super) state: PathBuf,
    /// Empty where an earlier version has written this: nobody looks there.
    #[serde(default)]
    pub(super) fence: PathBuf,
    pub(super) id: String,
    /// Where the layers are, and their names, the lowest first.
    pub(super) layers: PathBuf,
    pub(super) lower: Vec<String>,
    pub(super) stop_signal: Option<String>,
}

/// Written once the container runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) at: Timestamp,
    pub(super) init: Process,
    pub(super) shim: Process,
}

/// Written when it has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) code: i32,
    pub(super) reason: Exit,
}

/// The paths below the root.
#[derive(Clone, Debug)]
pub(super) struct Root(pub(super) PathBuf);

impl Root {
    pub(super) fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(super) fn addresses(&self) -> PathBuf {
        self.0.join("addresses")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(super) fn fence(&self) -> PathBuf {
        self.0.join("fence")
    }

    pub(super) fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    pub(super) fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    pub(super) fn sandbox(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("sandbox.json")
    }

    pub(super) fn fenced(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("fenced")
    }

    /// `id`: `UID_NAME_ATTEMPT`; neither of the first two has an underscore in it.
    pub(super) fn container(&self, id: &str) -> Option<ContainerDir> {
        let (uid, rest) = id.split_once('_')?;
        let is_plain =
            |part: &str| !part.is_empty() && !part.contains('/') && !part.starts_with('.');
        (is_plain(uid) && is_plain(rest)).then(|| ContainerDir(self.pod(uid).join(rest)))
    }
}

/// One container's directory.
#[derive(Clone, Debug)]
pub(super) struct ContainerDir(pub(super) PathBuf);

impl ContainerDir {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether its pod is fenced.
    pub(super) fn fenced(&self) -> PathBuf {
        self.0.with_file_name("fenced")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub(super) fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }

    pub(super) fn ended(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn shim_pid(&self) -> PathBuf {
        self.0.join("shim.json")
    }
}
