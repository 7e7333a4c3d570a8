//! From a pod to what a runtime is asked for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::expand::expand;
use super::spec;
use crate::agent::quantity;
use crate::agent::runtime::{ContainerSpec, Limits, Mount, PodRef, SandboxSpec, Security};

pub(in crate::agent) fn pod_ref(pod: &Pod) -> PodRef {
    PodRef {
        namespace: spec::namespace(pod).to_owned(),
        name: spec::name(pod).to_owned(),
        uid: spec::uid(pod).to_owned(),
    }
}

pub(in crate::agent) fn sandbox(pod: &Pod) -> SandboxSpec {
    SandboxSpec {
        pod: pod_ref(pod),
        hostname: spec::hostname(pod),
        host_network: spec::is_host_network(pod),
    }
}

/// What was found out for a container.
pub(in crate::agent) struct Found {
    pub(in crate::agent) attempt: u32,
    pub(in crate::agent) streak: u32,
    pub(in crate::agent) env: Vec<(String, String)>,
    pub(in crate::agent) mounts: Vec<Mount>,
    pub(in crate::agent) log_bytes_max: u64,
    pub(in crate::agent) log_files_max: u32,
}

pub(in crate::agent) fn container(pod: &Pod, wanted: &Container, found: Found) -> ContainerSpec {
    let known: BTreeMap<&str, &str> =
        found.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words.map(|word| expand(word, |name| known.get(name).copied())).collect()
    };
    let (command, args) = (expanded(&wanted.command), expanded(&wanted.args));
    ContainerSpec {
        pod: pod_ref(pod),
        name: wanted.name.clone(),
        attempt: found.attempt,
        streak: found.streak,
        image: wanted.image.clone().unwrap_or_default(),
        command,
        args,
        working_dir: wanted.working_dir.clone().filter(|path| !path.is_empty()),
        limits: limits(wanted),
        security: security(pod, wanted),
        hostname: spec::hostname(pod),
        host_network: spec::is_host_network(pod),
        env: found.env,
        mounts: found.mounts,
        log_bytes_max: found.log_bytes_max,
        log_files_max: found.log_files_max,
    }
}

fn limits(wanted: &Container) -> Limits {
    let Some(resources) = &wanted.resources else { return Limits::default() };
    let limit = |name: &str| resources.limits.as_ref()?.get(name);
    let request = |name: &str| resources.requests.as_ref()?.get(name);
    Limits {
        cpu_request_millis: request("cpu").and_then(quantity::millis),
        cpu_millis: limit("cpu").and_then(quantity::millis).filter(|millis| *millis > 0),
        memory_bytes: limit("memory").and_then(quantity::units).filter(|bytes| *bytes > 0),
    }
}

fn security(pod: &Pod, wanted: &Container) -> Security {
    let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    let shared = spec::spec(pod).and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = wanted.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.unwrap_or_default();
    let mut groups: Vec<i64> = shared.supplemental_groups.unwrap_or_default();
    groups.extend(shared.fs_group);
    Security {
        user: id(own.run_as_user.or(shared.run_as_user)),
        group: id(own.run_as_group.or(shared.run_as_group)),
        supplemental_groups: groups.into_iter().filter_map(|group| id(Some(group))).collect(),
        privileged: own.privileged.unwrap_or(false),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        add: capabilities.add.unwrap_or_default(),
        drop: capabilities.drop.unwrap_or_default(),
    }
}
