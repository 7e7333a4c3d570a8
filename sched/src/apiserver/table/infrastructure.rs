//! Rows of everything that is neither pods, nor makes them, nor leads to them.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::format::{NONE, age, count, join, list, name, or_none, since};

const ROLE: &str = "node-role.kubernetes.io/";

pub(super) fn cells(plural: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let size = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    let own = match plural {
        "nodes" => return node(object, now),
        "events" => return event(object, now),
        "roles" | "clusterroles" => {
            return vec![name(object), object["metadata"]["creationTimestamp"].clone()];
        }
        "rolebindings" | "clusterrolebindings" => return binding(object, now),
        "priorityclasses" => return priority_class(object, now),
        "namespaces" => vec![object["status"]["phase"].clone()],
        "configmaps" => vec![(size("data") + size("binaryData")).to_string().into()],
        "secrets" => vec![object["type"].clone(), size("data").to_string().into()],
        "serviceaccounts" => vec![list(&object["secrets"]).count().to_string().into()],
        "leases" => vec![or_none(&object["spec"]["holderIdentity"])],
        "poddisruptionbudgets" => budget(object),
        "controllerrevisions" => vec![controller(object), count(&object["revision"])],
        _ => Vec::new(),
    };
    [vec![name(object)], own, vec![age(object, now)]].concat()
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = &object["status"]["nodeInfo"];
    let address = |kind: &str| {
        let found = list(&object["status"]["addresses"]).find(|one| one["type"] == kind);
        found.map_or(NONE.into(), |one| or_none(&one["address"]))
    };
    let roles = object["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = roles.filter_map(|(label, _)| label.strip_prefix(ROLE)).map(str::to_owned);
    vec![
        name(object),
        node_status(object).into(),
        join(roles),
        age(object, now),
        info["kubeletVersion"].clone(),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(&info["osImage"]),
        or_unknown(&info["kernelVersion"]),
        or_unknown(&info["containerRuntimeVersion"]),
    ]
}

fn or_unknown(value: &Value) -> Value {
    if value.is_string() { value.clone() } else { "<unknown>".into() }
}

fn node_status(object: &Value) -> String {
    let ready = list(&object["status"]["conditions"]).find(|one| one["type"] == "Ready");
    let ready = match ready.map(|condition| condition["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    match object["spec"]["unschedulable"] == true {
        true => format!("{ready},SchedulingDisabled"),
        false => ready.to_owned(),
    }
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let about = &object["involvedObject"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let time = |names: [&str; 3]| {
        let found = names.iter().map(|name| &object[name]).find(|time| time.is_string());
        found.map_or("<unknown>".into(), |time| since(time, now))
    };
    let source = &object["source"];
    let source = [text(&source["component"]), text(&source["host"])];
    let source: Vec<String> = source.into_iter().filter(|part| !part.is_empty()).collect();
    vec![
        time(["lastTimestamp", "eventTime", "firstTimestamp"]),
        object["type"].clone(),
        object["reason"].clone(),
        format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"])).into(),
        text(&about["fieldPath"]).into(),
        source.join(", ").into(),
        text(&object["message"]).trim().into(),
        time(["firstTimestamp", "eventTime", "lastTimestamp"]),
        object["count"].as_i64().unwrap_or(1).to_string().into(),
        name(object),
    ]
}

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let role = &object["roleRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subjects = |kind: &str| {
        let of_kind: Vec<String> = list(&object["subjects"])
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match subject["namespace"].as_str() {
                Some(namespace) => format!("{namespace}/{}", text(&subject["name"])),
                None => text(&subject["name"]),
            })
            .collect();
        Value::from(of_kind.join(", "))
    };
    vec![
        name(object),
        format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        count(&object["value"]),
        (object["globalDefault"] == true).to_string().into(),
        age(object, now),
        object["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").into(),
    ]
}

fn budget(object: &Value) -> Vec<Value> {
    let bound = |value: &Value| match value {
        Value::Null => "N/A".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        bound(&object["spec"]["minAvailable"]).into(),
        bound(&object["spec"]["maxUnavailable"]).into(),
        count(&object["status"]["disruptionsAllowed"]),
    ]
}

fn controller(object: &Value) -> Value {
    let owner = list(&object["metadata"]["ownerReferences"]).find(|one| one["controller"] == true);
    let Some(owner) = owner else { return NONE.into() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"])).into()
}
