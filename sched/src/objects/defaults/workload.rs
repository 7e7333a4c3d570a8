//! Defaults of what makes pods.

use serde_json::{Map, Value, json};

use super::{child, elements, fill, template};

/// `spec` of a kind that makes pods, or of one that has nothing of the sort.
pub(super) fn workload(plural: &str, object: &mut Map<String, Value>) {
    match plural {
        "replicationcontrollers" => replication_controller(object),
        "replicasets" => with_template(object, |spec| fill(spec, "replicas", 1)),
        "deployments" => with_template(object, deployment),
        "daemonsets" => with_template(object, daemon_set),
        "jobs" => with_template(object, job),
        "cronjobs" => cron_job(object),
        "horizontalpodautoscalers" => {
            if let Some(spec) = child(object, "spec") {
                fill(spec, "minReplicas", 1);
            }
        }
        "endpoints" => endpoints(object),
        "endpointslices" => elements(object, "ports").for_each(protocol),
        _ => {}
    }
}

fn with_template(object: &mut Map<String, Value>, own: impl FnOnce(&mut Map<String, Value>)) {
    let Some(spec) = child(object, "spec") else { return };
    own(spec);
    if let Some(pod) = spec.get_mut("template").and_then(Value::as_object_mut) {
        template(pod);
    }
    child(object, "status");
}

fn replication_controller(object: &mut Map<String, Value>) {
    with_template(object, |spec| {
        fill(spec, "replicas", 1);
        let labels = spec.get("template").map(|pod| pod["metadata"]["labels"].clone());
        if let Some(labels) = labels.filter(Value::is_object) {
            fill(spec, "selector", labels);
        }
    });
}

fn deployment(spec: &mut Map<String, Value>) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let Some(strategy) = child(spec, "strategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
}

fn daemon_set(spec: &mut Map<String, Value>) {
    fill(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = child(spec, "updateStrategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
}

fn job(spec: &mut Map<String, Value>) {
    let has = |name: &str| spec.get(name).is_some_and(|value| !value.is_null());
    if !has("completions") && !has("parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    fill(spec, "backoffLimit", 6);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
}

/// Labels the pods of a new job with its uid and name and selects them by the uid, unless the
/// user selects them.
pub(in super::super) fn own_pods_of_job(object: &mut Map<String, Value>, uid: &str) {
    let name = object.get("metadata").and_then(|metadata| metadata["name"].as_str());
    let name = name.unwrap_or_default().to_owned();
    let Some(spec) = child(object, "spec") else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let own = json!({"batch.kubernetes.io/controller-uid": uid});
    spec.insert("selector".into(), json!({"matchLabels": own}));
    let Some(metadata) = child(spec, "template").and_then(|pod| child(pod, "metadata")) else {
        return;
    };
    if let Some(labels) = child(metadata, "labels") {
        for (label, value) in [
            ("batch.kubernetes.io/controller-uid", uid),
            ("controller-uid", uid),
            ("batch.kubernetes.io/job-name", &name),
            ("job-name", &name),
        ] {
            labels.insert(label.into(), value.into());
        }
    }
}

fn cron_job(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let pod = spec.get_mut("jobTemplate").and_then(|job| job.pointer_mut("/spec/template"));
    if let Some(pod) = pod.and_then(Value::as_object_mut) {
        template(pod);
    }
    fill(object, "status", json!({}));
}

fn endpoints(object: &mut Map<String, Value>) {
    for subset in elements(object, "subsets") {
        elements(subset, "ports").for_each(protocol);
    }
}

fn protocol(port: &mut Map<String, Value>) {
    fill(port, "protocol", "TCP");
}
