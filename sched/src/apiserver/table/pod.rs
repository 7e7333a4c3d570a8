//! Rows of pods.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::format::{age, list, name, or_none, since, timestamp};

pub(super) fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let total = list(&spec["containers"]).count();
    let ready = list(&status["containerStatuses"]).filter(|one| one["ready"] == true).count();
    vec![
        name(object),
        format!("{ready}/{total}").into(),
        reason(object).into(),
        restarts(status, now).into(),
        age(object, now),
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        gates(spec, status).into(),
    ]
}

/// What users read as the status: the phase, or what is the matter with a container.
fn reason(object: &Value) -> String {
    let status = &object["status"];
    let phase = status["phase"].as_str().unwrap_or("Unknown");
    let mut reason = status["reason"].as_str().unwrap_or(phase).to_owned();
    let is_waiting_for_init = match init_reason(object) {
        Some(init) => {
            reason = init;
            true
        }
        None => false,
    };
    if !is_waiting_for_init {
        let (mut is_any_running, mut is_any_ready) = (false, false);
        let statuses: Vec<&Value> = list(&status["containerStatuses"]).collect();
        for container in statuses.into_iter().rev() {
            match container_reason(&container["state"]) {
                Some(own) => reason = own,
                None if container["ready"] == true && container["state"]["running"].is_object() => {
                    is_any_running = true;
                    is_any_ready = true;
                }
                None if container["state"]["running"].is_object() => is_any_running = true,
                None => {}
            }
        }
        // A sidecar that has ended does not make a pod completed.
        if reason == "Completed" && is_any_running {
            reason = if is_any_ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if object["metadata"]["deletionTimestamp"].is_string() {
        let is_lost = status["reason"] == "NodeLost";
        let has_ended = matches!(phase, "Succeeded" | "Failed");
        if is_lost {
            return "Unknown".to_owned();
        }
        if !has_ended {
            return "Terminating".to_owned();
        }
    }
    reason
}

/// Why a container is not running, if it says.
fn container_reason(state: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if state["waiting"].is_object() {
        return text(&state["waiting"]["reason"]);
    }
    let ended = state["terminated"].as_object()?;
    text(&state["terminated"]["reason"]).or_else(|| match ended.get("signal") {
        Some(signal) if signal.as_i64().is_some_and(|signal| signal != 0) => {
            Some(format!("Signal:{signal}"))
        }
        _ => Some(format!("ExitCode:{}", state["terminated"]["exitCode"])),
    })
}

/// `Init:1/2` and the like, while init containers are not done.
fn init_reason(object: &Value) -> Option<String> {
    let statuses = &object["status"]["initContainerStatuses"];
    let total = list(&object["spec"]["initContainers"]).count();
    let is_sidecar = |name: &Value| {
        list(&object["spec"]["initContainers"])
            .any(|one| one["name"] == *name && one["restartPolicy"] == "Always")
    };
    for (at, container) in list(statuses).enumerate() {
        let state = &container["state"];
        let is_done = state["terminated"]["exitCode"] == 0 && state["terminated"].is_object()
            || is_sidecar(&container["name"]) && container["started"] == true;
        if is_done {
            continue;
        }
        return Some(match container_reason(state) {
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{at}/{total}"),
        });
    }
    None
}

/// How often containers were started anew, and when last.
fn restarts(status: &Value, now: Timestamp) -> String {
    let all = || list(&status["containerStatuses"]).chain(list(&status["initContainerStatuses"]));
    let count: i64 = all().filter_map(|one| one["restartCount"].as_i64()).sum();
    let ended = all().map(|one| &one["lastState"]["terminated"]["finishedAt"]);
    let last =
        ended.filter_map(|time| Some((timestamp(time)?, time))).max_by_key(|(time, _)| *time);
    match last {
        Some((_, time)) if count > 0 => {
            let since = since(time, now);
            format!("{count} ({} ago)", since.as_str().unwrap_or_default())
        }
        _ => count.to_string(),
    }
}

fn gates(spec: &Value, status: &Value) -> String {
    let total = list(&spec["readinessGates"]).count();
    if total == 0 {
        return super::format::NONE.to_owned();
    }
    let holds = |gate: &&Value| {
        list(&status["conditions"]).any(|condition| {
            condition["type"] == gate["conditionType"] && condition["status"] == "True"
        })
    };
    format!("{}/{total}", list(&spec["readinessGates"]).filter(holds).count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_says_what_is_the_matter() {
        // Proves which of phase, init containers, containers and deletion speaks.
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let running = json!({"ready": true, "state": {"running": {}}});
        let ended = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        for (metadata, status, expected) in [
            (json!({}), json!({"phase": "Pending"}), "Pending"),
            (
                json!({}),
                json!({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull")]}),
                "ErrImagePull",
            ),
            (
                json!({}),
                json!({"phase": "Running", "containerStatuses": [running, ended]}),
                "Running",
            ),
            (json!({}), json!({"phase": "Succeeded", "containerStatuses": [ended]}), "Completed"),
            (
                json!({}),
                json!({"phase": "Pending", "initContainerStatuses": [waiting("PodInitializing")]}),
                "Init:0/1",
            ),
            (
                json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
                json!({"phase": "Running"}),
                "Terminating",
            ),
        ] {
            let spec = json!({"initContainers": [{"name": "i"}]});
            let object = json!({"metadata": metadata, "status": status, "spec": spec});
            assert_eq!(reason(&object), expected);
        }
    }
}
