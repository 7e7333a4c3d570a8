//! Between the version that is stored and those that are served besides.
//!
//! Files of old times are taken as they were meant: an `extensions/v1beta1` Deployment need not
//! have a selector, and a port that was torn into two list items is put together again.

use serde_json::{Map, Value, json};

use super::path::Target;

/// A document of the version that was asked for.
pub(super) fn outgoing(target: &Target, mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".into(), target.api_version().into());
    }
    if (target.resource.plural, &*target.version) == ("horizontalpodautoscalers", "v1") {
        to_autoscaling_v1(&mut value);
    }
    value
}

/// A document in the version that is stored; what was mended is told of.
pub(super) fn incoming(target: &Target, value: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    match (target.resource.plural, &*target.group, &*target.version) {
        ("deployments", "extensions", _) => {
            let message = "extensions/v1beta1 Deployment is deprecated; use apps/v1 Deployment";
            warnings.push(message.to_owned());
            old_deployment(value);
        }
        ("cronjobs" | "poddisruptionbudgets", _, "v1beta1") => {
            let group = &target.group;
            warnings.push(format!(
                "{group}/v1beta1 {0} is deprecated; use {group}/v1 {0}",
                target.resource.kind
            ));
        }
        ("horizontalpodautoscalers", _, "v1") => from_autoscaling_v1(value),
        _ => {}
    }
    if let Some(pod) = pods(target.resource.plural, value) {
        mend_ports(pod, &mut warnings);
    }
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".into(), target.resource.api_version().into());
        object.insert("kind".into(), target.resource.kind.into());
    }
    warnings
}

fn old_deployment(value: &mut Value) {
    let labels = value.pointer("/spec/template/metadata/labels").cloned();
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(labels) = labels.filter(Value::is_object) {
        let selector = spec.entry("selector").or_insert(Value::Null);
        if selector.is_null() {
            *selector = json!({"matchLabels": labels});
        }
    }
    let defaults = [("maxSurge", json!(1)), ("maxUnavailable", json!(1))];
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    let is_recreate = strategy["type"] == "Recreate";
    let Some(strategy) = strategy.as_object_mut().filter(|_| !is_recreate) else { return };
    let rolling = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
    if let Some(rolling) = rolling.as_object_mut() {
        for (name, value) in defaults {
            rolling.entry(name).or_insert(value);
        }
    }
}

/// The pod of an object, or the template of its pods.
pub(super) fn pods<'a>(plural: &str, value: &'a mut Value) -> Option<&'a mut Map<String, Value>> {
    let pointer = super::validate::pod_pointer(plural)?;
    value.pointer_mut(pointer).and_then(Value::as_object_mut)
}

/// `- containerPort: 80` and `- hostPort: 80` in two items, which is what `containerPort: 80` and
/// `hostPort: 80` become when an editor loses their indentation.
fn mend_ports(pod: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut("containers"));
    let containers = containers.and_then(Value::as_array_mut);
    for (at, container) in containers.into_iter().flatten().enumerate() {
        let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut) else {
            continue;
        };
        let mut mended: Vec<Value> = Vec::new();
        for port in ports.drain(..) {
            let is_torn = port.get("containerPort").is_none() && port.get("hostPort").is_some();
            match mended.last_mut().and_then(Value::as_object_mut) {
                Some(before) if is_torn && !before.contains_key("hostPort") => {
                    before.insert("hostPort".into(), port["hostPort"].clone());
                    warnings.push(format!(
                        "spec.containers[{at}].ports: an item with hostPort alone was joined to \
                         the one before it"
                    ));
                }
                _ => mended.push(port),
            }
        }
        *ports = mended;
    }
}

fn from_autoscaling_v1(value: &mut Value) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".into(), json!([metric]));
    }
}

fn to_autoscaling_v1(value: &mut Value) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let metrics = spec.shift_remove("metrics").unwrap_or_default();
    let cpu = |metric: &&Value| metric["resource"]["name"] == "cpu";
    let metric = metrics.as_array().and_then(|list| list.iter().find(cpu));
    if let Some(metric) = metric {
        let percent = &metric["resource"]["target"]["averageUtilization"];
        spec.insert("targetCPUUtilizationPercentage".into(), percent.clone());
    }
    if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
        status.shift_remove("currentMetrics");
        status.shift_remove("conditions");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::path::{Route, parse};

    fn target(path: &str) -> Target {
        match parse(path) {
            Ok(Route::Object(target)) => target,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn old_deployments_are_taken_as_they_were_meant() {
        // Proves the tolerances that the files of the seeds need: a selector from the labels, the
        // old rolling update, a torn port, and that all of it is told.
        let target = target("/apis/extensions/v1beta1/namespaces/a/deployments");
        let ports = json!([{"containerPort": 8761}, {"hostPort": 8761}]);
        let pod = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "ports": ports}]},
        });
        let mut value = json!({"apiVersion": "extensions/v1beta1", "spec": {"template": pod}});
        let warnings = incoming(&target, &mut value);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(value["apiVersion"], "apps/v1");
        assert_eq!(value["spec"]["selector"], json!({"matchLabels": {"app": "web"}}));
        assert_eq!(value["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 1);
        let ports = &value["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(*ports, json!([{"containerPort": 8761, "hostPort": 8761}]));
        assert_eq!(outgoing(&target, value)["apiVersion"], "extensions/v1beta1");
    }

    #[test]
    fn autoscalers_are_the_same_in_both_versions() {
        // Proves that the target of autoscaling/v1 is stored as v2 and comes back.
        let target = target("/apis/autoscaling/v1/namespaces/a/horizontalpodautoscalers");
        let first = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80},
        });
        let mut value = first.clone();
        incoming(&target, &mut value);
        assert_eq!(value["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(outgoing(&target, value), first);
    }
}
