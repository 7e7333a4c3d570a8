//! Rows of what makes pods.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::format::{
    NONE, age, containers, count, join, labels, length, list, name, selector, since, timestamp,
};

/// Containers, images and selector: the end of every row here when wide.
fn with_wide(mut row: Vec<Value>, spec: &Value) -> Vec<Value> {
    row.push(containers(spec, "name"));
    row.push(containers(spec, "image"));
    let own = &spec["selector"];
    let is_plain = own.is_object()
        && own.get("matchLabels").is_none()
        && own.get("matchExpressions").is_none();
    row.push(if is_plain { labels(own) } else { selector(own) });
    row
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = status["readyReplicas"].as_i64().unwrap_or(0);
    let wanted = spec["replicas"].as_i64().unwrap_or(0);
    let row = vec![
        name(object),
        format!("{ready}/{wanted}").into(),
        count(&status["updatedReplicas"]),
        count(&status["availableReplicas"]),
        age(object, now),
    ];
    with_wide(row, spec)
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let row = vec![
        name(object),
        count(&spec["replicas"]),
        count(&status["replicas"]),
        count(&status["readyReplicas"]),
        age(object, now),
    ];
    with_wide(row, spec)
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let row = vec![
        name(object),
        count(&status["desiredNumberScheduled"]),
        count(&status["currentNumberScheduled"]),
        count(&status["numberReady"]),
        count(&status["updatedNumberScheduled"]),
        count(&status["numberAvailable"]),
        labels(&spec["template"]["spec"]["nodeSelector"]),
        age(object, now),
    ];
    with_wide(row, spec)
}

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let done = status["succeeded"].as_i64().unwrap_or(0);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        _ => format!("{done}/1"),
    };
    let duration = timestamp(&status["startTime"]).map(|start| {
        let end = timestamp(&status["completionTime"]).unwrap_or(now);
        length(end.as_second() - start.as_second())
    });
    let row = vec![
        name(object),
        job_status(object).into(),
        completions.into(),
        duration.unwrap_or_default().into(),
        age(object, now),
    ];
    with_wide(row, spec)
}

fn job_status(object: &Value) -> &'static str {
    let has = |kind: &str| {
        list(&object["status"]["conditions"])
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if object["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let last = &status["lastScheduleTime"];
    let suspended = if spec["suspend"] == true { "True" } else { "False" };
    let row = vec![
        name(object),
        spec["schedule"].clone(),
        super::format::or_none(&spec["timeZone"]),
        suspended.into(),
        list(&status["active"]).count().to_string().into(),
        if last.is_string() { since(last, now) } else { NONE.into() },
        age(object, now),
    ];
    with_wide(row, &spec["jobTemplate"]["spec"])
}

pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let reference = &spec["scaleTargetRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Both forms: the one of autoscaling/v1 and the one that is stored.
    let targets = match spec["targetCPUUtilizationPercentage"].as_i64() {
        Some(percent) => join([format!("cpu: <unknown>/{percent}%")].into_iter()),
        None => join(list(&spec["metrics"]).map(|metric| {
            let target = &metric["resource"]["target"]["averageUtilization"];
            let of = text(&metric["resource"]["name"]);
            match target.as_i64() {
                Some(percent) => format!("{of}: <unknown>/{percent}%"),
                None => "<unknown>".to_owned(),
            }
        })),
    };
    vec![
        name(object),
        format!("{}/{}", text(&reference["kind"]), text(&reference["name"])).into(),
        targets,
        count(&spec["minReplicas"]),
        count(&spec["maxReplicas"]),
        count(&status["currentReplicas"]),
        age(object, now),
    ]
}
