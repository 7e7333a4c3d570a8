//! Server-side apply: who owns which field, and what comes of it.

use serde_json::{Value, json};
use testkit::eventually;

use crate::http::{Answer, Http};
use crate::stage::{SOON_S, Stage, WEB};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: [&str; 4] = ["apply", "--server-side", "-f", "-"];

#[tokio::test]
async fn fields_belong_to_who_applies_them() {
    // Shows server-side apply by the real kubectl: conflicts as it prints them, force, other
    // managers, what is no longer applied, elements of lists, the way from client-side apply, and
    // managedFields as they are shown; and by curl what kubectl never sends.
    let stage = Stage::start_with("control").await;
    let http = Http::new(&stage.api, &[]);
    conflicts_are_printed(&stage, &http).await;
    controllers_keep_the_owners(&stage, &http).await;
    what_leaves_the_file_goes(&stage, &http).await;
    elements_belong_to_their_managers(&stage, &http).await;
    client_side_apply_goes_over(&stage, &http).await;
    owners_are_shown_on_request(&stage).await;
    objects_without_owners_are_applied(&stage, &http).await;
    parts_have_owners_too(&http).await;
    wrong_applications_are_refused(&http).await;
}

/// The entry of a manager, by its name, operation and part.
fn entry(object: &Value, manager: &str, operation: &str, part: &str) -> Option<Value> {
    let list = object["metadata"]["managedFields"].as_array();
    let is_it = |entry: &&Value| {
        entry["manager"] == manager
            && entry["operation"] == operation
            && entry["subresource"].as_str().unwrap_or_default() == part
    };
    list.into_iter().flatten().find(is_it).cloned()
}

async fn applied(http: &Http, path: &str, query: &str, config: &Value) -> Answer {
    let path = format!("{path}?{query}");
    http.send("PATCH", &path, "application/apply-patch+yaml", &config.to_string()).await
}

async fn conflicts_are_printed(stage: &Stage, http: &Http) {
    stage.ok_with(&APPLY, WEB).await;
    let first = http.get(DEPLOYMENT).await.is(200).body;
    let own = entry(&first, "kubectl", "Apply", "").unwrap_or_else(|| panic!("{first}"));
    assert_eq!(own["fieldsType"], "FieldsV1");
    assert_eq!(own["apiVersion"], "apps/v1");
    assert_eq!(own["fieldsV1"]["f:spec"]["f:replicas"], json!({}));
    let container = "/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}";
    let expected = json!({".": {}, "f:image": {}, "f:name": {}});
    assert_eq!(own.pointer(container), Some(&expected), "defaults are nobody's");

    stage.ok(&["scale", "deploy/web", "--replicas=5"]).await;
    let scaled = http.get(DEPLOYMENT).await.is(200).body;
    assert!(entry(&scaled, "kubectl", "Update", "scale").is_some(), "{scaled}");
    let said = stage.fails_with(&APPLY, WEB).await;
    let expected = "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \
                    \"scale\" using apps/v1: .spec.replicas";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("--force-conflicts"), "kubectl says what to do: {said}");
    let replicas = ["get", "deploy", "web", "-o=jsonpath={.spec.replicas}"];
    assert_eq!(stage.ok(&replicas).await, "5");

    stage.ok(&["label", "deploy", "web", "--field-manager=boss", "tier=front"]).await;
    let two = WEB.replace("{name: web}\nspec", "{name: web, labels: {tier: back}}\nspec");
    let said = stage.fails_with(&APPLY, &two).await;
    assert!(said.contains("Apply failed with 2 conflicts: conflicts with \"boss\""), "{said}");
    assert!(said.contains("- .metadata.labels.tier"), "{said}");

    let force = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    stage.ok_with(&force, WEB).await;
    assert_eq!(stage.ok(&replicas).await, "2");
    let forced = http.get(DEPLOYMENT).await.is(200).body;
    assert!(entry(&forced, "kubectl", "Update", "scale").is_none(), "{forced}");
    assert_eq!(forced["metadata"]["labels"]["tier"], "front", "others' labels stay");
}

/// The status is written beside it, by those who track nothing; then nothing is written at all.
async fn controllers_keep_the_owners(stage: &Stage, http: &Http) {
    let generation = "-o=jsonpath={.status.observedGeneration}/{.metadata.generation}";
    let settled = eventually("the controller has seen it", SOON_S, async || {
        let seen = stage.ok(&["get", "deploy", "web", generation]).await;
        let (one, two) = seen.split_once('/').unwrap_or_default();
        if !one.is_empty() && one == two { Ok(http.get(DEPLOYMENT).await) } else { Err(seen) }
    })
    .await;
    assert!(entry(&settled.body, "kubectl", "Apply", "").is_some(), "{}", settled.text);
    assert!(entry(&settled.body, "boss", "Update", "").is_some(), "{}", settled.text);
    // A ConfigMap has no controllers: only an application could change its revision.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
    let path = format!("{MAPS}/same");
    let once = applied(http, &path, "fieldManager=one", &map).await.is(201);
    let twice = applied(http, &path, "fieldManager=one", &map).await.is(200);
    assert_eq!(once.version(), twice.version());
    assert_eq!(once.body["metadata"]["managedFields"], twice.body["metadata"]["managedFields"]);
}

async fn what_leaves_the_file_goes(stage: &Stage, http: &Http) {
    let file = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, finalizers: [example.org/kept]}
data: {a: '1', b: '2'}
";
    let by =
        |manager: &'static str| ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    stage.ok_with(&by("one"), file).await;
    let other = file.replace("a: '1', b: '2'", "b: '2', c: '3'");
    stage.ok_with(&by("two"), &other.replace(", finalizers: [example.org/kept]", "")).await;
    let none = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}";
    stage.ok_with(&by("one"), none).await;
    let left = http.get(&format!("{MAPS}/settings")).await.is(200).body;
    assert_eq!(left["data"], json!({"b": "2", "c": "3"}), "a goes, b is the other's too");
    assert!(left["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty), "{left}");
    assert!(entry(&left, "one", "Apply", "").is_none(), "{left}");
    // Secrets: what was applied as text is kept as data, and goes with it.
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x, b: z}";
    stage.ok_with(&APPLY, secret).await;
    stage.ok_with(&APPLY, &secret.replace("a: x, ", "")).await;
    assert_eq!(stage.ok(&["get", "secret", "s", "-o=jsonpath={.data}"]).await, r#"{"b":"eg=="}"#);
}

async fn elements_belong_to_their_managers(stage: &Stage, http: &Http) {
    let sidecar = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec: {containers: [{name: log, image: 'log:1', ports: [{containerPort: 80}]}]}
";
    stage.ok_with(&["apply", "--server-side", "--field-manager=logs", "-f", "-"], sidecar).await;
    // The first does not name the other's container, and leaves it.
    stage.ok_with(&APPLY, &WEB.replace("web:1", "web:2")).await;
    let images = ["get", "deploy", "web", "-o=jsonpath={.spec.template.spec.containers[*].image}"];
    assert_eq!(stage.ok(&images).await, "web:2 log:1");
    let object = http.get(DEPLOYMENT).await.is(200).body;
    let own = entry(&object, "logs", "Apply", "").unwrap_or_else(|| panic!("{object}"));
    let ports = "/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"log\"}/f:ports";
    let expected = json!({
        "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
    });
    assert_eq!(own.pointer(ports), Some(&expected), "{own}");
    // The other lets go of it: it goes with all that the server filled in.
    let none = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}";
    stage.ok_with(&["apply", "--server-side", "--field-manager=logs", "-f", "-"], none).await;
    assert_eq!(stage.ok(&images).await, "web:2");
}

/// What client-side apply made is kubectl's own when it applies at the server, and its fields go
/// when they leave the file.
async fn client_side_apply_goes_over(stage: &Stage, http: &Http) {
    let file = WEB.replace("name: web}\nspec", "name: old, labels: {a: b}}\nspec");
    stage.ok_with(&["apply", "-f", "-"], &file).await;
    let path = DEPLOYMENT.replace("/web", "/old");
    let before = http.get(&path).await.is(200).body;
    let manager = "kubectl-client-side-apply";
    assert!(entry(&before, manager, "Update", "").is_some(), "{before}");
    let newer = file.replace("web:1", "web:2").replace(", labels: {a: b}}\nspec", "}\nspec");
    stage.ok_with(&APPLY, &newer).await;
    let after = http.get(&path).await.is(200).body;
    let image = &after["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "web:2", "without a conflict");
    let note = "kubectl.kubernetes.io/last-applied-configuration";
    let noted = after["metadata"]["annotations"][note].as_str().unwrap_or_default();
    assert!(noted.contains("web:2"), "the note follows: {noted}");
    if migrates(stage).await {
        assert!(entry(&after, manager, "Update", "").is_none(), "{after}");
        assert!(after["metadata"]["labels"]["a"].is_null(), "{after}");
    }
    // Back again, as it was before.
    let back = stage.ok_with(&["apply", "-f", "-"], &newer).await;
    assert!(back.contains("deployment.apps/old"), "{back}");
}

/// kubectl moves the fields of client-side apply over since 1.26.
async fn migrates(stage: &Stage) -> bool {
    let version = stage.ok(&["version", "--client", "-o=json"]).await;
    let version: Value = serde_json::from_str(&version).unwrap();
    let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default();
    minor.trim_end_matches('+').parse::<u32>().is_ok_and(|minor| minor >= 26)
}

async fn owners_are_shown_on_request(stage: &Stage) {
    if !migrates(stage).await {
        // kubectl before 1.21 shows them always.
        return;
    }
    let yaml = ["get", "deploy", "web", "-o", "yaml"];
    assert!(!stage.ok(&yaml).await.contains("managedFields"));
    let shown = stage.ok(&[&yaml[..], &["--show-managed-fields"]].concat()).await;
    assert!(shown.contains("managedFields:") && shown.contains("f:replicas: {}"), "{shown}");
}

/// Owners that were forgotten, which is as if controllers had made the object.
async fn objects_without_owners_are_applied(stage: &Stage, http: &Http) {
    let path = format!("{MAPS}/bare");
    stage.ok(&["create", "configmap", "bare", "--from-literal=a=1"]).await;
    let made = http.get(&path).await.is(200).body;
    let own = entry(&made, "kubectl-create", "Update", "").unwrap_or_else(|| panic!("{made}"));
    assert_eq!(own["fieldsV1"], json!({"f:data": {".": {}, "f:a": {}}}));
    let forget = json!({"metadata": {"managedFields": [{}]}});
    let bare = http.patch(&path, &forget).await.is(200).body;
    assert!(bare["metadata"]["managedFields"].is_null(), "{bare}");
    let bare = http.patch(&path, &json!({"data": {"b": "2"}})).await.is(200).body;
    assert!(bare["metadata"]["managedFields"].is_null(), "nobody keeps track: {bare}");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "9"}});
    let refused = applied(http, &path, "fieldManager=one", &map).await;
    let text = "conflict with \"before-first-apply\" using v1: .data.a";
    let refused = refused.fails(409, "Conflict", text);
    let cause = &refused.body["details"]["causes"][0];
    let expected = json!({
        "reason": "FieldManagerConflict", "field": ".data.a",
        "message": "conflict with \"before-first-apply\" using v1",
    });
    assert_eq!(*cause, expected);
    let taken = applied(http, &path, "fieldManager=one&force=true", &map).await.is(200).body;
    assert_eq!(taken["data"], json!({"a": "9", "b": "2"}));
    assert!(entry(&taken, "before-first-apply", "Update", "").is_some(), "{taken}");
    // A trial says the same and stores nothing.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "10"}});
    let trial = applied(http, &path, "fieldManager=one&dryRun=All", &map).await.is(200).body;
    assert_eq!(trial["data"]["a"], "10");
    assert_eq!(http.get(&path).await.is(200).body["data"]["a"], "9");
}

/// The status and the number of replicas.
async fn parts_have_owners_too(http: &Http) {
    let node = json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.9.0.0/24"}});
    http.post("/api/v1/nodes?fieldManager=me", &node).await.is(201);
    let status = json!({"apiVersion": "v1", "kind": "Node", "status": {"phase": "Running"}});
    let path = "/api/v1/nodes/n/status";
    let after = applied(http, path, "fieldManager=agent", &status).await.is(200).body;
    let own = entry(&after, "agent", "Apply", "status").unwrap_or_else(|| panic!("{after}"));
    assert_eq!(own["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
    let other = json!({"status": {"phase": "Pending"}});
    let after = http.patch(path, &other).await.is(200).body;
    let own = entry(&after, "curl", "Update", "status").unwrap_or_else(|| panic!("{after}"));
    assert_eq!(own["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
    assert!(entry(&after, "me", "Update", "").is_some(), "{after}");
    applied(http, path, "fieldManager=agent", &status).await.fails(
        409,
        "Conflict",
        "conflict with \"curl\" with subresource \"status\" using v1: .status.phase",
    );
    http.delete("/api/v1/nodes/n", &json!({})).await.is(200);

    let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 4}});
    let path = format!("{DEPLOYMENT}/scale");
    applied(http, &path, "fieldManager=hpa", &scale).await.fails(409, "Conflict", ".spec.replicas");
    let scaled = applied(http, &path, "fieldManager=hpa&force=true", &scale).await.is(200).body;
    assert_eq!(scaled["spec"]["replicas"], 4);
    let whole = http.get(DEPLOYMENT).await.is(200).body;
    assert!(entry(&whole, "hpa", "Apply", "scale").is_some(), "{whole}");
}

async fn wrong_applications_are_refused(http: &Http) {
    let path = format!("{MAPS}/wrong");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}});
    let refused = applied(http, &path, "", &map).await;
    refused.fails(422, "Invalid", "fieldManager: Required value: is required for apply patch");
    let long = format!("fieldManager={}", "x".repeat(129));
    let text = "may not be more than 128 characters";
    applied(http, &path, &long, &map).await.fails(422, "Invalid", text);
    let mut owned = map.clone();
    owned["metadata"] = json!({"managedFields": []});
    let text = "metadata.managedFields must be nil";
    applied(http, &path, "fieldManager=one", &owned).await.fails(400, "BadRequest", text);
    let twice = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "a:1"}, {"name": "a", "image": "a:2"},
    ]}}}});
    let text = ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]";
    applied(http, DEPLOYMENT, "fieldManager=one", &twice).await.fails(400, "BadRequest", text);
    let text = "force: Forbidden: may not be specified for non-apply patch";
    let forced = http.patch(&format!("{DEPLOYMENT}?force=true"), &json!({})).await;
    forced.fails(422, "Invalid", text);
    http.get(&path).await.is(404);
}
