//! What the engine is asked for, and the labels by which it is found again.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, ContainerSummary, HostConfig, HostConfigLogConfig};

use super::{Settings, pause};
use crate::agent::runtime::{ContainerSpec, Limits, PodRef, SandboxSpec};

/// Whose it is: the name of the network.
pub(super) const OWNER: &str = "dev.berth.owner";
pub(super) const UID: &str = "dev.berth.pod.uid";
const POD: &str = "dev.berth.pod.name";
const NAMESPACE: &str = "dev.berth.pod.namespace";
/// Not there: it is a pause container.
pub(super) const CONTAINER: &str = "dev.berth.container";
pub(super) const ATTEMPT: &str = "dev.berth.attempt";
pub(super) const STREAK: &str = "dev.berth.streak";
/// As the pod names it.
pub(super) const IMAGE: &str = "dev.berth.image";

fn labels(pod: &PodRef, owner: &str) -> HashMap<String, String> {
    [(OWNER, owner), (UID, &pod.uid), (POD, &pod.name), (NAMESPACE, &pod.namespace)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

pub(super) fn is_pause(container: &ContainerSummary) -> bool {
    !container.labels.as_ref().is_some_and(|labels| labels.contains_key(CONTAINER))
}

pub(super) fn pod_of(container: &ContainerSummary) -> Option<PodRef> {
    let labels = container.labels.as_ref()?;
    Some(PodRef {
        namespace: labels.get(NAMESPACE)?.clone(),
        name: labels.get(POD)?.clone(),
        uid: labels.get(UID)?.clone(),
    })
}

/// The name and the body of a pod's pause container.
pub(super) fn pause(spec: &SandboxSpec, settings: &Settings) -> (String, ContainerCreateBody) {
    let PodRef { namespace, name, uid } = &spec.pod;
    let network = if spec.host_network { "host" } else { settings.network.as_str() };
    let host = HostConfig {
        network_mode: Some(network.to_owned()),
        ipc_mode: Some("shareable".into()),
        binds: Some(pause::binds(&settings.program)),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".into()]),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(pause::IMAGE.into()),
        entrypoint: Some([pause::PROGRAM, "container", "pause"].map(str::to_owned).into()),
        hostname: (!spec.host_network).then(|| spec.hostname.clone()),
        labels: Some(labels(&spec.pod, &settings.network)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    (format!("k8s_POD_{name}_{namespace}_{uid}_0"), body)
}

pub(super) fn container(spec: &ContainerSpec, pause: &str, owner: &str) -> ContainerCreateBody {
    let mut labels = labels(&spec.pod, owner);
    labels.extend(
        [
            (CONTAINER, spec.name.clone()),
            (ATTEMPT, spec.attempt.to_string()),
            (STREAK, spec.streak.to_string()),
            (IMAGE, spec.image.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let security = &spec.security;
    let user = match (security.user, security.group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        _ => None,
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: (!spec.command.is_empty()).then(|| spec.command.clone()),
        cmd: (!spec.args.is_empty()).then(|| spec.args.clone()),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: spec.working_dir.clone(),
        user,
        labels: Some(labels),
        host_config: Some(host_config(spec, pause)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, pause: &str) -> HostConfig {
    let (security, limits) = (&spec.security, &spec.limits);
    let shared = format!("container:{pause}");
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let binds = spec.mounts.iter().map(|mount| {
        let mode = if mount.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", mount.source.display(), mount.target)
    });
    let log = HashMap::from([
        ("max-size".to_owned(), spec.log_bytes_max.to_string()),
        ("max-file".to_owned(), spec.log_files_max.max(1).to_string()),
    ]);
    HostConfig {
        network_mode: Some(shared.clone()),
        ipc_mode: Some(shared),
        binds: Some(binds.collect()),
        cpu_shares: Some(number(limits.cpu_shares())),
        cpu_quota: limits.cpu_quota_us().map(number),
        cpu_period: limits.cpu_millis.map(|_| number(Limits::CPU_PERIOD_US)),
        memory: limits.memory_bytes.map(number),
        memory_swap: limits.memory_bytes.map(number),
        privileged: Some(security.privileged),
        readonly_rootfs: Some(security.read_only_root),
        cap_add: (!security.add.is_empty()).then(|| security.add.clone()),
        cap_drop: (!security.drop.is_empty()).then(|| security.drop.clone()),
        group_add: (!security.supplemental_groups.is_empty())
            .then(|| security.supplemental_groups.iter().map(u32::to_string).collect()),
        security_opt: security.no_new_privileges.then(|| vec!["no-new-privileges".into()]),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".into()), config: Some(log) }),
        ..HostConfig::default()
    }
}
