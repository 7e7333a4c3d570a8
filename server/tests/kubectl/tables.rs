//! What `kubectl get -o wide` shows of each kind, by the names of its columns.

use sched::objects::kinds;
use serde_json::{Value, json};

use crate::http::Http;
use crate::stage::Stage;

const WORK: &str = "CONTAINERS|IMAGES|SELECTOR";

/// As Kubernetes 1.32 prints them; `{WORK}` stands for what all that makes pods ends with.
const HEADERS: &[(&str, &str)] = &[
    ("namespaces", "NAME|STATUS|AGE"),
    (
        "nodes",
        "NAME|STATUS|ROLES|AGE|VERSION|INTERNAL-IP|EXTERNAL-IP|OS-IMAGE|KERNEL-VERSION|CONTAINER-RUNTIME",
    ),
    ("pods", "NAME|READY|STATUS|RESTARTS|AGE|IP|NODE|NOMINATED NODE|READINESS GATES"),
    ("replicationcontrollers", "NAME|DESIRED|CURRENT|READY|AGE|{WORK}"),
    ("services", "NAME|TYPE|CLUSTER-IP|EXTERNAL-IP|PORT(S)|AGE|SELECTOR"),
    ("endpoints", "NAME|ENDPOINTS|AGE"),
    ("configmaps", "NAME|DATA|AGE"),
    ("secrets", "NAME|TYPE|DATA|AGE"),
    ("serviceaccounts", "NAME|SECRETS|AGE"),
    ("events", "LAST SEEN|TYPE|REASON|OBJECT|SUBOBJECT|SOURCE|MESSAGE|FIRST SEEN|COUNT|NAME"),
    ("daemonsets", "NAME|DESIRED|CURRENT|READY|UP-TO-DATE|AVAILABLE|NODE SELECTOR|AGE|{WORK}"),
    ("deployments", "NAME|READY|UP-TO-DATE|AVAILABLE|AGE|{WORK}"),
    ("replicasets", "NAME|DESIRED|CURRENT|READY|AGE|{WORK}"),
    ("controllerrevisions", "NAME|CONTROLLER|REVISION|AGE"),
    ("jobs", "NAME|STATUS|COMPLETIONS|DURATION|AGE|{WORK}"),
    ("cronjobs", "NAME|SCHEDULE|TIMEZONE|SUSPEND|ACTIVE|LAST SCHEDULE|AGE|{WORK}"),
    ("horizontalpodautoscalers", "NAME|REFERENCE|TARGETS|MINPODS|MAXPODS|REPLICAS|AGE"),
    ("poddisruptionbudgets", "NAME|MIN AVAILABLE|MAX UNAVAILABLE|ALLOWED DISRUPTIONS|AGE"),
    ("endpointslices", "NAME|ADDRESSTYPE|PORTS|ENDPOINTS|AGE"),
    ("leases", "NAME|HOLDER|AGE"),
    ("ingresses", "NAME|CLASS|HOSTS|ADDRESS|PORTS|AGE"),
    ("priorityclasses", "NAME|VALUE|GLOBAL-DEFAULT|AGE|PREEMPTIONPOLICY"),
    ("roles", "NAME|CREATED AT"),
    ("rolebindings", "NAME|ROLE|AGE|USERS|GROUPS|SERVICEACCOUNTS"),
    ("clusterroles", "NAME|CREATED AT"),
    ("clusterrolebindings", "NAME|ROLE|AGE|USERS|GROUPS|SERVICEACCOUNTS"),
];

/// Makes the least of each kind that is served, and has kubectl show all of them at once.
pub(crate) async fn have_the_columns_of_kubernetes(stage: &Stage) {
    let http = Http::new(&stage.api, &[]);
    let mut plurals: Vec<&str> = kinds::ALL.iter().map(|kind| kind.plural).collect();
    for resource in kinds::ALL {
        let root = match resource.group {
            "" => "/api".to_owned(),
            group => format!("/apis/{group}"),
        };
        let within = if resource.namespaced { "/namespaces/default" } else { "" };
        let path = format!("{root}/{}{within}/{}", resource.version, resource.plural);
        let mut object = json!({"metadata": {"name": "minimal", "namespace": "default"}});
        if !resource.namespaced {
            object["metadata"].as_object_mut().unwrap().shift_remove("namespace");
        }
        for (field, value) in least(resource.plural).as_object().unwrap() {
            object[field] = value.clone();
        }
        let made = http.post(&path, &object).await.is(201);
        assert_eq!(made.body["kind"], resource.kind, "{}", made.text);
        assert_eq!(made.body["apiVersion"], resource.api_version(), "{}", made.text);
    }
    let mut expected: Vec<&str> = HEADERS.iter().map(|(plural, _)| *plural).collect();
    let all = expected.join(",");
    let shown = stage.ok(&["get", &all, "-o", "wide"]).await;
    let headers: Vec<String> =
        shown.split("\n\n").filter_map(|table| table.lines().next()).map(columns).collect();
    let wanted: Vec<String> =
        HEADERS.iter().map(|(_, header)| header.replace("{WORK}", WORK)).collect();
    assert_eq!(headers, wanted, "{shown}");
    plurals.sort_unstable();
    expected.sort_unstable();
    assert_eq!(expected, plurals, "every kind that is served has its line here");
}

/// kubectl puts three spaces between columns, and one within a name.
fn columns(line: &str) -> String {
    let names: Vec<&str> =
        line.split("   ").map(str::trim).filter(|name| !name.is_empty()).collect();
    names.join("|")
}

/// What an object of this kind cannot be without, beside its name.
fn least(plural: &str) -> Value {
    let labels = json!({"app": "minimal"});
    let selector = json!({"matchLabels": labels});
    let container = json!([{"name": "c", "image": "web:1"}]);
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": container}});
    let once = json!({"spec": {"restartPolicy": "Never", "containers": container}});
    let role = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "minimal",
    });
    match plural {
        "pods" => json!({"spec": {"containers": container}}),
        "replicationcontrollers" => {
            json!({"spec": {"replicas": 0, "selector": labels, "template": template}})
        }
        "deployments" | "replicasets" => {
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}})
        }
        "daemonsets" => json!({"spec": {"selector": selector, "template": template}}),
        "jobs" => json!({"spec": {"template": once}}),
        "cronjobs" => json!({"spec": {
            "schedule": "0 1 * * *", "jobTemplate": {"spec": {"template": once}}}}),
        "services" => json!({"spec": {"ports": [{"port": 80}]}}),
        "events" => {
            json!({"involvedObject": {"kind": "Pod", "name": "one", "namespace": "default"}})
        }
        "controllerrevisions" => json!({"revision": 1}),
        "horizontalpodautoscalers" => json!({"spec": {
            "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "minimal"}}}),
        "poddisruptionbudgets" => json!({"spec": {}}),
        "endpointslices" => json!({"addressType": "IPv4", "endpoints": []}),
        "ingresses" => json!({"spec": {
            "defaultBackend": {"service": {"name": "minimal", "port": {"number": 80}}}}}),
        "priorityclasses" => json!({"value": 1}),
        "rolebindings" | "clusterrolebindings" => json!({"roleRef": role}),
        _ => json!({}),
    }
}
