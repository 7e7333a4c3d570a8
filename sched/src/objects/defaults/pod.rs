//! Defaults of pods, and of the templates of pods.

use serde_json::{Map, Value, json};

use super::{child, elements, fill};

/// `rw-r--r--`
const MODE: i64 = 0o644;

pub(super) fn pod(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    pod_spec(spec);
    fill(spec, "serviceAccountName", "default");
    fill(spec, "priority", 0);
    let class = quality_of_service(spec);
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
        fill(status, "qosClass", class);
    }
}

/// Fills in `spec` of a pod template.
pub fn template(object: &mut Map<String, Value>) {
    if let Some(metadata) = child(object, "metadata") {
        fill(metadata, "creationTimestamp", Value::Null);
    }
    if let Some(spec) = child(object, "spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "securityContext", json!({}));
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "enableServiceLinks", true);
    let on_host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        elements(spec, list).for_each(|one| container(one, on_host));
    }
    elements(spec, "volumes").for_each(volume);
}

fn container(container: &mut Map<String, Value>, on_host: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default().to_owned();
    fill_pull_policy(&image, container);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    if let Some(resources) = child(container, "resources") {
        requests_from_limits(resources);
    }
    for port in elements(container, "ports") {
        fill(port, "protocol", "TCP");
        if on_host && let Some(number) = port.get("containerPort").cloned() {
            fill(port, "hostPort", number);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            fill_probe(probe);
        }
    }
    for variable in elements(container, "env") {
        let from = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef"));
        if let Some(from) = from.and_then(Value::as_object_mut) {
            fill(from, "apiVersion", "v1");
        }
    }
}

/// An image that may become another one under the same name is looked for each time.
fn fill_pull_policy(image: &str, container: &mut Map<String, Value>) {
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest =
        !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    fill(container, "imagePullPolicy", if is_latest { "Always" } else { "IfNotPresent" });
}

fn requests_from_limits(resources: &mut Map<String, Value>) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let Some(requests) = child(resources, "requests") else { return };
    for (name, limit) in limits {
        fill(requests, &name, limit);
    }
}

fn fill_probe(probe: &mut Map<String, Value>) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    if let Some(http) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
        fill(http, "path", "/");
        fill(http, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Map<String, Value>) {
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            fill(source, "defaultMode", MODE);
        }
    }
    if let Some(host_path) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        fill(host_path, "type", "");
    }
    // A volume that names no source is an empty directory.
    if volume.len() == 1 && volume.contains_key("name") {
        fill(volume, "emptyDir", json!({}));
    }
}

/// Guaranteed: every container has limits for cpu and memory, and asks for as much; best effort:
/// none asks for anything.
fn quality_of_service(spec: &Map<String, Value>) -> &'static str {
    let list = |name: &str| spec.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let containers: Vec<Value> =
        list("containers").into_iter().chain(list("initContainers")).collect();
    let asks = |container: &Value, what: &str, resource: &str| {
        container["resources"][what].get(resource).cloned()
    };
    let guaranteed = |container: &Value| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = asks(container, "limits", resource);
            limit.is_some() && limit == asks(container, "requests", resource)
        })
    };
    let nothing = |container: &Value| {
        ["cpu", "memory"].iter().all(|resource| {
            asks(container, "limits", resource).is_none()
                && asks(container, "requests", resource).is_none()
        })
    };
    if containers.iter().all(nothing) {
        "BestEffort"
    } else if containers.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_what_kubernetes_gives_them() {
        // Proves the defaults that decide how a pod runs: pull policy by tag, requests from limits,
        // probes, the class of service; and that what is set stays.
        let mut value = json!({"spec": {"restartPolicy": "Never", "containers": [
            {"name": "a", "image": "registry:5000/web", "ports": [{"containerPort": 80}],
             "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
             "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 2}},
            {"name": "b", "image": "web:1.0"},
        ]}});
        let object = value.as_object_mut().unwrap();
        pod(object);
        assert_eq!(value["spec"]["restartPolicy"], "Never");
        let first = &value["spec"]["containers"][0];
        assert_eq!(first["imagePullPolicy"], "Always");
        assert_eq!(first["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(first["readinessProbe"]["httpGet"]["path"], "/");
        assert_eq!(first["readinessProbe"]["periodSeconds"], 2);
        assert_eq!(first["readinessProbe"]["failureThreshold"], 3);
        assert_eq!(first["ports"][0]["protocol"], "TCP");
        assert_eq!(value["spec"]["containers"][1]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(value["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
    }
}
