//! Objects for tests.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

/// Seconds of the tests' time.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time of this century")
}

/// A pod that nobody has started yet.
pub(crate) fn pod(name: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("shop".into()),
            uid: Some(format!("uid-{name}")),
            creation_timestamp: Some(Time(at(0))),
            resource_version: Some("1".into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        status: Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() }),
    }
}

/// The pod, running and ready since then.
pub(crate) fn ready(mut pod: Pod, since: Timestamp) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Running".into());
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".into(),
        status: "True".into(),
        last_transition_time: Some(Time(since)),
        ..PodCondition::default()
    }]);
    pod
}

/// The pod in a phase, not ready.
pub(crate) fn in_phase(mut pod: Pod, phase: &str) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some(phase.into());
    status.conditions = None;
    pod
}

pub(crate) fn owned(mut pod: Pod, uid: &str) -> Pod {
    let owner =
        OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() };
    pod.metadata.owner_references = Some(vec![owner]);
    pod
}
