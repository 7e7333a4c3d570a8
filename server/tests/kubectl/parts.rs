//! What is written by a part of an object: which node a pod is on, what is the matter with it, how
//! long it may take to go; and fields that nobody here knows.

use serde_json::{Value, json};
use testkit::eventually;

use crate::http::{Answer, Http};
use crate::stage::SOON_S;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const NODE_LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// On a server whose scheduler fills nodes one after the other, and where nothing runs pods.
pub(crate) async fn are_written_by_themselves(http: &Http) {
    for name in ["left", "right"] {
        node(http, name).await;
    }
    nodes_are_filled(http).await;
    pods_are_bound_by_hand(http).await;
    graces_are_kept(http).await;
    unknown_fields_survive(http).await;
}

/// A node that seems to live, made by its status alone: nothing else of the body counts there.
async fn node(http: &Http, name: &str) {
    let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    http.post(NODE_LEASES, &lease).await.is(201);
    http.post(NODES, &json!({"metadata": {"name": name}})).await.is(201);
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let ready = json!({"type": "Ready", "status": "True", "reason": "Made", "message": "by hand"});
    let whole = json!({
        "metadata": {"name": name},
        "spec": {"unschedulable": true},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    });
    let path = format!("{NODES}/{name}/status");
    let written = http.put(&path, &whole).await.is(200);
    for answer in [written, http.get(&path).await.is(200)] {
        assert_eq!(answer.body["status"]["allocatable"]["cpu"], "4", "{}", answer.text);
        assert_eq!(answer.body["spec"]["unschedulable"], Value::Null, "{}", answer.text);
    }
    // The other way round, the whole says nothing of the status.
    let other = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "1"}}});
    http.put(&format!("{NODES}/{name}"), &other).await.is(200);
    assert_eq!(http.get(&path).await.body["status"]["allocatable"]["cpu"], "4");
}

/// One after the other goes where the first one went, which the other strategy would avoid.
async fn nodes_are_filled(http: &Http) {
    let mut nodes = Vec::new();
    for name in ["fills-1", "fills-2", "fills-3"] {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [
            {"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "1"}}},
        ]}});
        http.post(PODS, &pod).await.is(201);
        nodes.push(
            eventually("the pod has a node", SOON_S, async || on_node(http, name).await).await,
        );
    }
    assert!(nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
}

async fn on_node(http: &Http, pod: &str) -> Result<String, String> {
    let answer = http.get(&format!("{PODS}/{pod}")).await.is(200);
    answer.body["spec"]["nodeName"].as_str().map(str::to_owned).ok_or(answer.text)
}

/// As a scheduler would that is a client of this API.
async fn pods_are_bound_by_hand(http: &Http) {
    let pod = json!({"metadata": {"name": "bound"}, "spec": {
        "schedulerName": "by-hand", "containers": [{"name": "c", "image": "web:1"}]}});
    http.post(PODS, &pod).await.is(201);
    let to = |node: &str| {
        json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        })
    };
    let path = format!("{PODS}/bound/binding");
    http.post(&path, &to("")).await.fails(400, "BadRequest", "target.name");
    http.post(&path, &to("nowhere")).await.fails(400, "BadRequest", "nowhere");
    http.post(&format!("{PODS}/none/binding"), &to("right")).await.fails(404, "NotFound", "none");
    http.post(&format!("{path}?dryRun=All"), &to("right")).await.is(201);
    on_node(http, "bound").await.expect_err("a dry run binds nothing");
    eventually("the pod is bound", SOON_S, async || {
        let answer = http.post(&path, &to("right")).await;
        match answer.code {
            201 => Ok(()),
            // The node was written at this moment: the scheduler's view of it was old.
            409 if !answer.text.contains("already assigned") => Err(answer.text),
            _ => panic!("{}", answer.text),
        }
    })
    .await;
    assert_eq!(on_node(http, "bound").await.as_deref(), Ok("right"));
    let bound = http.get(&format!("{PODS}/bound")).await;
    let scheduled = &bound.body["status"]["conditions"];
    assert!(
        scheduled
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "PodScheduled" && one["status"] == "True"),
        "{}",
        bound.text
    );
    http.post(&path, &to("left")).await.fails(
        409,
        "Conflict",
        "already assigned to node \"right\"",
    );
    assert_eq!(on_node(http, "bound").await.as_deref(), Ok("right"));
}

/// A pod that is on a node is marked until its agent has ended it. A grace only gets shorter.
async fn graces_are_kept(http: &Http) {
    let path = format!("{PODS}/bound");
    http.delete(&path, &json!({"gracePeriodSeconds": -1})).await.fails(400, "BadRequest", "-1");
    let left = |answer: Answer| {
        let metadata = &answer.body["metadata"];
        assert!(metadata["deletionTimestamp"].is_string(), "{}", answer.text);
        metadata["deletionGracePeriodSeconds"].as_i64()
    };
    let first = http.delete(&path, &json!({"gracePeriodSeconds": 600})).await.is(200);
    assert_eq!(left(first), Some(600));
    assert_eq!(left(http.get(&path).await.is(200)), Some(600));
    let longer = http.delete(&format!("{path}?gracePeriodSeconds=900"), &json!({})).await.is(200);
    assert_eq!(left(longer), Some(600));
    let shorter = http.delete(&format!("{path}?gracePeriodSeconds=500"), &json!({})).await.is(200);
    assert_eq!(left(shorter), Some(500));
    http.delete(&path, &json!({"gracePeriodSeconds": 0})).await.is(200);
    http.get(&path).await.is(404);
}

/// Of a client from the future: by every way to write, those of the controllers too.
async fn unknown_fields_survive(http: &Http) {
    let unknown = |answer: &Answer| {
        let spec = &answer.body["spec"];
        let all = [
            &answer.body["later"],
            &spec["wishes"],
            &spec["template"]["spec"]["containers"][0]["mood"],
        ];
        let expected = [json!({"a": [1, {"b": null}]}), json!(["one", "two"]), json!("calm")];
        assert!(all.into_iter().eq(&expected), "{}", answer.text);
    };
    let made = json!({
        "metadata": {"name": "future"}, "later": {"a": [1, {"b": null}]},
        "spec": {
            "replicas": 0, "wishes": ["one", "two"], "selector": {"matchLabels": {"app": "future"}},
            "template": {"metadata": {"labels": {"app": "future"}}, "spec": {
                "containers": [{"name": "c", "image": "web:1", "mood": "calm"}]}},
        },
    });
    unknown(&http.post(DEPLOYMENTS, &made).await.is(201));
    let path = format!("{DEPLOYMENTS}/future");
    let seen = eventually("a controller has written its status", SOON_S, async || {
        let answer = http.get(&path).await.is(200);
        match answer.body["status"]["observedGeneration"] == 1 {
            true => Ok(answer),
            false => Err(answer.text),
        }
    })
    .await;
    unknown(&seen);
    unknown(&http.patch(&path, &json!({"spec": {"minReadySeconds": 1}})).await.is(200));
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}});
    let strategic = "application/strategic-merge-patch+json";
    unknown(&http.send("PATCH", &path, strategic, &image.to_string()).await.is(200));
    let add = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
    let patch = "application/json-patch+json";
    let patched = http.send("PATCH", &path, patch, &add.to_string()).await.is(200);
    unknown(&patched);
    let mut whole = patched.body;
    whole["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    whole["spec"]["revisionHistoryLimit"] = 3.into();
    unknown(&http.put(&path, &whole).await.is(200));
    http.patch(&format!("{path}/scale"), &json!({"spec": {"replicas": 1}})).await.is(200);
    let now = http.get(&path).await.is(200);
    assert_eq!(now.body["spec"]["replicas"], 1);
    unknown(&now);
}
