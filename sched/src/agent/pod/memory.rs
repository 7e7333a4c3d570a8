//! What a pod's worker remembers, because it cannot be observed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

/// All of it. After an agent has started again it is empty, and nothing is lost but pauses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::agent) struct Memory {
    /// What is being done at this moment.
    pub(super) busy: BTreeSet<Task>,
    /// Containers that are being stopped, and when they will be killed.
    pub(super) stopping: BTreeMap<String, Timestamp>,
    /// Why a container, by its name, was not started.
    pub(super) failures: BTreeMap<String, Failure>,
    pub(super) sandbox_failure: Option<Failure>,
    /// What containers that have ended left behind to be told, by their id.
    pub(super) messages: BTreeMap<String, Option<String>>,
    /// What probes have found out about a container, by its id.
    pub(super) probed: BTreeMap<String, Probed>,
    /// Whether the runtime was told that the pod is fenced; `None`: nothing was.
    pub(super) fenced: Option<bool>,
}

/// Something that takes time. Containers are named, not numbered, when they have yet to start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent) enum Task {
    Sandbox,
    Start(String),
    Remove(String),
    Finish,
}

/// The last of some failures in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Failure {
    /// As Kubernetes calls it.
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) at: Timestamp,
    /// How many; 1 or more.
    pub(super) count: u32,
}

/// What probes have found out. Without a probe of a kind the answer is yes as soon as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Probed {
    pub(super) has_started: bool,
    pub(super) is_ready: bool,
    /// Why it must be restarted.
    pub(super) sick: Option<String>,
}
