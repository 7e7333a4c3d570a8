//! What a runtime is asked for. Everything is said in full: names are looked up, variables
//! expanded and files written before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A pod, by its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    /// What tells it from others of its name, before and after.
    pub uid: String,
}

/// What the containers of a pod share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    pub pod: PodRef,
    pub hostname: String,
    /// Whether it uses the node's network instead of an address of its own.
    pub host_network: bool,
}

/// A container to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub pod: PodRef,
    pub name: String,
    pub attempt: u32,
    pub streak: u32,
    pub image: String,
    /// Instead of the image's entry point; empty: that one.
    pub command: Vec<String>,
    /// Instead of the image's command; empty: that one, unless `command` is given.
    pub args: Vec<String>,
    /// Beside the image's.
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub security: Security,
    pub hostname: String,
    pub host_network: bool,
    pub log_bytes_max: u64,
    pub log_files_max: u32,
}

impl Default for PodRef {
    fn default() -> Self {
        Self { namespace: "default".into(), name: String::new(), uid: String::new() }
    }
}

/// A file or directory of the node in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// What a container may use. `None`: whatever there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Thousandths of a processor that it is sure to get when all are busy.
    pub cpu_request_millis: Option<u64>,
    pub cpu_millis: Option<u64>,
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// The kernel's weights start here.
    const CPU_SHARES_MIN: u64 = 2;
    const CPU_SHARES_MAX: u64 = 262_144;
    /// Over which a quota of time is counted.
    pub const CPU_PERIOD_US: u64 = 100_000;
    /// The kernel refuses less.
    const CPU_QUOTA_US_MIN: u64 = 1000;

    /// The weight by which busy processors are shared: 1024 for a whole one.
    pub fn cpu_shares(&self) -> u64 {
        let millis = self.cpu_request_millis.or(self.cpu_millis).unwrap_or(0);
        (millis * 1024 / 1000).clamp(Self::CPU_SHARES_MIN, Self::CPU_SHARES_MAX)
    }

    /// Microseconds of processor time in each period.
    pub fn cpu_quota_us(&self) -> Option<u64> {
        let quota = |millis| millis * Self::CPU_PERIOD_US / 1000;
        self.cpu_millis.map(|millis| quota(millis).max(Self::CPU_QUOTA_US_MIN))
    }
}

/// As whom a container runs, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `None`: the image's.
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    pub privileged: bool,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    /// Capabilities without `CAP_`, or `ALL`.
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

/// A further process in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub stdin: bool,
    pub tty: bool,
}

impl ContainerSpec {
    /// What tells it from every other container on the node.
    pub fn key(&self) -> String {
        format!("{}_{}_{}", self.pod.uid, self.name, self.attempt)
    }

    /// The name that an engine knows it by, as Kubernetes' agent would call it.
    pub fn engine_name(&self) -> String {
        let PodRef { namespace, name, uid } = &self.pod;
        format!("k8s_{}_{name}_{namespace}_{uid}_{}", self.name, self.attempt)
    }

    /// Variables, later ones in place of earlier ones.
    pub fn variables<'a>(&'a self, image: &'a [String]) -> Vec<String> {
        let pairs = image.iter().filter_map(|pair| pair.split_once('='));
        let own = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let merged: BTreeMap<&str, &str> = pairs.chain(own).collect();
        merged.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}
