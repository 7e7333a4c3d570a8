//! What makes pods, and what counts them.

use serde_json::Value;

use super::super::status::FieldError;
use super::pod::{list, not_negative, supported};
use super::{names, pod, pod_pointer};
use crate::objects::limits::INDEXES_MAX;

pub(super) fn check(plural: &str, value: &Value, errors: &mut Vec<FieldError>) {
    let spec = &value["spec"];
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "parallelism",
        "completions",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        not_negative(&format!("spec.{field}"), &spec[field], errors);
    }
    if let Some(pointer) = pod_pointer(plural) {
        check_template(plural, pointer, value, errors);
    }
    match plural {
        "deployments" => check_strategy(spec, errors),
        "jobs" => check_indexes(spec, errors),
        "cronjobs" => check_cron_job(spec, errors),
        "poddisruptionbudgets" => check_budget(spec, errors),
        "horizontalpodautoscalers" => check_autoscaler(spec, errors),
        _ => {}
    }
    check_selector("spec.selector", &spec["selector"], errors);
}

fn check_indexes(spec: &Value, errors: &mut Vec<FieldError>) {
    let is_indexed = spec["completionMode"].as_str() == Some("Indexed");
    if is_indexed && spec["completions"].as_i64().is_some_and(|count| count > INDEXES_MAX.into()) {
        let why = "must be less than or equal to 100000 when completion mode is Indexed";
        errors.push(FieldError::invalid("spec.completions", &spec["completions"], why));
    }
}

fn check_template(plural: &str, pointer: &str, value: &Value, errors: &mut Vec<FieldError>) {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let Some(template) = value.pointer(pointer).filter(|template| template.is_object()) else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    pod::check(&format!("{path}.spec"), &template["spec"], errors);
    let labels = &template["metadata"]["labels"];
    names::check_labels(&format!("{path}.metadata.labels"), labels, errors);
    let policy = &template["spec"]["restartPolicy"];
    let policies: &[&str] = match plural {
        "jobs" | "cronjobs" => &["OnFailure", "Never"],
        _ => &["Always"],
    };
    supported(&format!("{path}.spec.restartPolicy"), policy, policies, errors);
    if matches!(plural, "deployments" | "replicasets" | "daemonsets" | "replicationcontrollers") {
        check_own_selector(&value["spec"]["selector"], labels, errors);
    }
}

/// The selector must choose the pods that the template makes.
fn check_own_selector(selector: &Value, labels: &Value, errors: &mut Vec<FieldError>) {
    let is_empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
    if is_empty {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    }
    let is_modern =
        selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let wanted = if is_modern { &selector["matchLabels"] } else { selector };
    let mut pairs = wanted.as_object().into_iter().flatten();
    if !pairs.all(|(key, value)| labels.get(key) == Some(value)) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
    }
}

fn check_selector(path: &str, selector: &Value, errors: &mut Vec<FieldError>) {
    names::check_labels(&format!("{path}.matchLabels"), &selector["matchLabels"], errors);
    for (at, one) in list(&selector["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
        supported(&format!("{path}.operator"), &one["operator"], &operators, errors);
        let has_values = list(&one["values"]).next().is_some();
        match one["operator"].as_str() {
            Some("In" | "NotIn") if !has_values => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{path}.values"), why));
            }
            Some("Exists" | "DoesNotExist") if has_values => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{path}.values"), why));
            }
            _ => {}
        }
    }
}

/// A number that is not negative, or a percentage.
fn check_share(path: &str, value: &Value, errors: &mut Vec<FieldError>) {
    not_negative(path, value, errors);
    if let Some(text) = value.as_str() {
        let number = text.strip_suffix('%').map(str::parse::<u32>);
        if !matches!(number, Some(Ok(0..=100))) {
            let why = "a valid percent string must be a number from 0 to 100 followed by '%'";
            errors.push(FieldError::invalid(path, value, why));
        }
    }
}

fn check_strategy(spec: &Value, errors: &mut Vec<FieldError>) {
    let strategy = &spec["strategy"];
    let known = ["Recreate", "RollingUpdate"];
    supported("spec.strategy.type", &strategy["type"], &known, errors);
    let rolling = &strategy["rollingUpdate"];
    if strategy["type"] == "Recreate" && !rolling.is_null() {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", why));
        return;
    }
    for field in ["maxSurge", "maxUnavailable"] {
        check_share(&format!("spec.strategy.rollingUpdate.{field}"), &rolling[field], errors);
    }
    let is_zero = |value: &Value| *value == 0 || *value == "0%";
    if is_zero(&rolling["maxSurge"]) && is_zero(&rolling["maxUnavailable"]) {
        let path = "spec.strategy.rollingUpdate.maxUnavailable";
        let why = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(path, &rolling["maxUnavailable"], why));
    }
}

fn check_cron_job(spec: &Value, errors: &mut Vec<FieldError>) {
    let schedule = spec["schedule"].as_str().unwrap_or_default();
    let fields = schedule.split_whitespace().count();
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if fields != 5 && !schedule.starts_with('@') {
        let why = format!("expected exactly 5 fields, found {fields}");
        errors.push(FieldError::invalid("spec.schedule", &schedule.into(), &why));
    }
    let known = ["Allow", "Forbid", "Replace"];
    supported("spec.concurrencyPolicy", &spec["concurrencyPolicy"], &known, errors);
}

fn check_budget(spec: &Value, errors: &mut Vec<FieldError>) {
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", &"".into(), why));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        check_share(&format!("spec.{field}"), &spec[field], errors);
    }
}

fn check_autoscaler(spec: &Value, errors: &mut Vec<FieldError>) {
    let least = spec["minReplicas"].as_i64().unwrap_or(1);
    let most = spec["maxReplicas"].as_i64().unwrap_or(0);
    if most < 1 {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid("spec.maxReplicas", &most.into(), why));
    } else if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", &most.into(), why));
    }
}
