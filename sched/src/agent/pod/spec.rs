//! What a pod asks for, read without its options.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::objects::limits::{GRACE_S, GRACE_S_MAX};

/// When a container that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(super) fn of(pod: &Pod) -> Self {
        match spec(pod).and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    pub(super) fn wants(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

pub(in crate::agent) fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

pub(in crate::agent) fn mains(pod: &Pod) -> &[Container] {
    spec(pod).map_or(&[], |spec| &spec.containers)
}

/// Init containers and sidecars, in order.
pub(in crate::agent) fn inits(pod: &Pod) -> &[Container] {
    spec(pod).and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

/// Every container by its name, whichever kind.
pub(in crate::agent) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    inits(pod).iter().chain(mains(pod)).find(|container| container.name == name)
}

/// An init container that goes on running beside the others.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub(super) fn is_main(pod: &Pod, name: &str) -> bool {
    mains(pod).iter().any(|container| container.name == name)
}

pub(in crate::agent) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(in crate::agent) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(in crate::agent) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

pub(super) fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(in crate::agent) fn is_host_network(pod: &Pod) -> bool {
    spec(pod).and_then(|spec| spec.host_network).unwrap_or(false)
}

pub(in crate::agent) fn hostname(pod: &Pod) -> String {
    const LABEL_MAX: usize = 63;
    let given = spec(pod).and_then(|spec| spec.hostname.as_deref());
    let mut name = given.unwrap_or(name(pod)).to_owned();
    name.truncate(LABEL_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// How long its containers have to end, once they are told.
pub(super) fn grace(pod: &Pod) -> SignedDuration {
    let seconds = spec(pod).and_then(|spec| spec.termination_grace_period_seconds);
    SignedDuration::from_secs(seconds.unwrap_or(GRACE_S).clamp(0, GRACE_S_MAX))
}

/// When it must have ended, if it was deleted.
pub(super) fn deleted(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.deletion_timestamp.as_ref().map(|time| time.0)
}

/// What the store says of it already: such an end is final.
pub(super) fn final_phase(pod: &Pod) -> Option<&str> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    matches!(phase, "Succeeded" | "Failed").then_some(phase)
}

/// When its time is over, if it has such a bound.
pub(super) fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = spec(pod)?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?;
    start.0.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Whether others are told to start it elsewhere when this node is lost.
pub(in crate::agent) fn is_replaced_elsewhere(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| owner.kind != "DaemonSet" && owner.kind != "Node")
}
