//! The commands of kubectl, one after the other.

use std::path::Path;

use serde_json::Value;
use testkit::kubectls;

use crate::stage::{Stage, WEB};
use crate::tables;

#[tokio::test]
async fn objects_are_made_read_changed_and_deleted() {
    // Shows create, get in its forms, describe, apply, label, annotate, patch, edit, replace, scale,
    // selectors and delete; and diff by each kubectl that is here.
    let stage = Stage::start().await;
    stage.ok_with(&["create", "-f", "-"], WEB).await;
    stage.ok(&["rollout", "status", "deployment/web", "--timeout=50s"]).await;
    let list = stage.ok(&["get", "deployments"]).await;
    assert!(list.starts_with("NAME") && list.contains("2/2"), "{list}");
    let wide = stage.ok(&["get", "deploy", "web", "-o", "wide"]).await;
    assert!(wide.contains("web:1") && wide.contains("app=web"), "{wide}");
    let pods = stage.ok(&["get", "pods", "-A", "-l", "app=web", "-o", "wide"]).await;
    assert_eq!(pods.matches("1/1").count(), 2, "{pods}");
    assert_eq!(pods.matches("Running").count(), 2, "{pods}");
    let yaml = stage.ok(&["get", "deploy", "web", "-o", "yaml"]).await;
    assert!(yaml.contains("kind: Deployment") && yaml.contains("maxSurge: 25%"), "{yaml}");
    let image = "-o=jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(stage.ok(&["get", "deploy", "web", image]).await, "web:1");
    let all = stage.ok(&["get", "all"]).await;
    assert!(all.contains("replicaset.apps/web-") && all.contains("pod/web-"), "{all}");
    let described = stage.ok(&["describe", "deployment", "web"]).await;
    assert!(described.contains("ScalingReplicaSet"), "{described}");
    stage.ok(&["describe", "pods", "-l", "app=web"]).await;
    assert!(stage.ok(&["describe", "nodes"]).await.contains("Capacity:"));

    let two = WEB.replace("web:1", "web:2");
    for kubectl in kubectls() {
        differences_are_shown(&stage, &kubectl, &two).await;
    }
    assert_eq!(stage.ok(&["get", "deploy", "web", image]).await, "web:1", "a diff stores nothing");
    stage.ok_with(&["apply", "-f", "-"], &two).await;
    assert_eq!(stage.ok(&["get", "deploy", "web", image]).await, "web:2");
    assert!(stage.ok_with(&["apply", "-f", "-"], &two).await.contains("unchanged"));
    stage.ok_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], WEB).await;
    assert_eq!(stage.ok(&["get", "deploy", "web", image]).await, "web:1");
    stage.replaces(&WEB.replace("replicas: 2", "replicas: 3")).await;
    stage.ok(&["label", "deploy", "web", "tier=front"]).await;
    stage.ok(&["annotate", "deploy", "web", "note=x"]).await;
    for patch in [
        ["--type=merge", r#"-p={"spec":{"minReadySeconds":0,"revisionHistoryLimit":3}}"#],
        ["--type=json", r#"-p=[{"op":"replace","path":"/spec/revisionHistoryLimit","value":4}]"#],
        [
            "--type=strategic",
            r#"-p={"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:3"}]}}}}"#,
        ],
    ] {
        stage.ok(&["patch", "deploy", "web", patch[0], patch[1]]).await;
    }
    assert_eq!(
        stage.ok(&["get", "deploy", "-l", "tier=front", "-o", "name"]).await.trim(),
        "deployment.apps/web"
    );
    assert_eq!(stage.ok(&["get", "deploy", "web", image]).await, "web:3");
    let edit = ["edit", "deploy", "web"];
    let said = stage.run_with_editor("sed -i s/web:3/web:4/", &edit).await;
    assert!(said.code == Some(0) && said.stdout.contains("edited"), "{said:?}");
    let json: Value =
        serde_json::from_str(&stage.ok(&["get", "deploy", "web", "-o", "json"]).await)
            .expect("a document");
    assert_eq!((&json["kind"], &json["apiVersion"]), (&"Deployment".into(), &"apps/v1".into()));
    assert_eq!(json["spec"]["template"]["spec"]["containers"][0]["image"], "web:4");
    assert_eq!(json["metadata"]["labels"]["tier"], "front");
    stage.ok(&["scale", "deploy/web", "--replicas=1"]).await;
    stage.ok(&["wait", "deploy/web", "--for=condition=Available", "--timeout=50s"]).await;
    stage.ok(&["delete", "deploy", "web", "--timeout=50s"]).await;
    stage.shows(&["get", "pods", "-o=jsonpath={.items}"], "[]").await;
}

/// Of what is there and what a file says: none, some, and for an object that is not there all of it.
async fn differences_are_shown(stage: &Stage, kubectl: &Path, two: &str) {
    let diff = async |file: &str| stage.run_by(kubectl, &["diff", "-f", "-"], file).await;
    let same = diff(WEB).await;
    assert_eq!((same.code, &*same.stdout), (Some(0), ""), "{}: {same:?}", kubectl.display());
    let other = diff(two).await;
    assert_eq!(other.code, Some(1), "{}: {other:?}", kubectl.display());
    let lines: Vec<&str> = other.stdout.lines().map(str::trim_end).collect();
    let has = |sign: &str, text: &str| {
        lines.iter().any(|line| line.starts_with(sign) && line.ends_with(text))
    };
    assert!(has("-", "image: web:1") && has("+", "image: web:2"), "{}", other.stdout);
    assert!(!has("-", "name: web") && !has("+", "name: web"), "{}", other.stdout);
    let tried = ["apply", "--dry-run=server", "-f", "-"];
    let tried = stage.run_by(kubectl, &tried, two).await;
    assert!(tried.stdout.contains("(server dry run)"), "{}: {tried:?}", kubectl.display());
    let new = diff(&WEB.replace("name: web", "name: new")).await;
    assert_eq!(new.code, Some(1), "{}: {new:?}", kubectl.display());
    assert!(new.stdout.contains("+kind: Deployment"), "{}", new.stdout);
}

#[tokio::test]
async fn rollouts_go_forth_and_back() {
    // Shows set image, rollout status, history, undo, pause, resume and restart.
    let stage = Stage::start().await;
    stage.ok_with(&["apply", "-f", "-"], WEB).await;
    let status = ["rollout", "status", "deploy/web", "--timeout=50s"];
    let image = ["get", "deploy", "web", "-o=jsonpath={.spec.template.spec.containers[0].image}"];
    stage.ok(&status).await;
    stage.ok(&["set", "image", "deploy/web", "web=web:2"]).await;
    assert!(stage.ok(&status).await.contains("successfully rolled out"));
    let history = stage.ok(&["rollout", "history", "deploy/web"]).await;
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    stage.ok(&["rollout", "undo", "deploy/web"]).await;
    stage.ok(&status).await;
    assert_eq!(stage.ok(&image).await, "web:1");
    stage.ok(&["rollout", "pause", "deploy/web"]).await;
    stage.ok(&["set", "image", "deploy/web", "web=web:4"]).await;
    stage.ok(&["rollout", "resume", "deploy/web"]).await;
    stage.ok(&["rollout", "restart", "deploy/web"]).await;
    stage.ok(&status).await;
    assert_eq!(stage.ok(&image).await, "web:4");
}

#[tokio::test]
async fn nodes_are_emptied_and_filled_again() {
    // Shows cordon, drain, uncordon and taint: pods leave a drained node, wait, and come back.
    let stage = Stage::start().await;
    stage.ok_with(&["apply", "-f", "-"], WEB).await;
    stage.ok(&["rollout", "status", "deploy/web", "--timeout=50s"]).await;
    let node = stage.ok(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]).await;
    stage.ok(&["cordon", &node]).await;
    stage.shows(&["get", "nodes"], "Ready,SchedulingDisabled").await;
    stage.ok(&["drain", &node, "--force", "--ignore-daemonsets", "--timeout=50s"]).await;
    stage.shows(&["get", "pods"], "Pending").await;
    assert!(!stage.ok(&["get", "pods"]).await.contains("Running"));
    stage.shows(&["describe", "pods"], "FailedScheduling").await;
    stage.ok(&["uncordon", &node]).await;
    stage.ok(&["rollout", "status", "deploy/web", "--timeout=50s"]).await;
    stage.ok(&["taint", "nodes", &node, "team=a:NoSchedule"]).await;
    assert!(stage.ok(&["describe", "node", &node]).await.contains("team=a:NoSchedule"));
    stage.ok(&["taint", "nodes", &node, "team-"]).await;
}

#[tokio::test]
async fn generators_make_objects() {
    // Shows create KIND, run and expose: kubectl sends most of these as protobuf. And the columns of
    // each kind that is served.
    let stage = Stage::start_with("control").await;
    for command in [
        &["create", "deployment", "web", "--image=web:1", "--replicas=2"][..],
        &["create", "namespace", "team"],
        &["create", "secret", "generic", "s", "--from-literal=password=x"],
        &["create", "configmap", "c", "--from-literal=a=b"],
        &["create", "job", "once", "--image=web:1", "--", "true"],
        &["create", "cronjob", "nightly", "--image=web:1", "--schedule=0 1 * * *"],
        &["create", "service", "clusterip", "plain", "--tcp=80:8080"],
        &["create", "serviceaccount", "robot"],
        &["create", "role", "reader", "--verb=get", "--resource=pods"],
        &["create", "rolebinding", "readers", "--role=reader", "--user=ann"],
        &["create", "poddisruptionbudget", "pdb", "--selector=app=web", "--min-available=1"],
        &["create", "priorityclass", "high", "--value=1000"],
        &["create", "ingress", "in", "--rule=a.example/*=plain:80"],
        &["autoscale", "deployment", "web", "--max=3"],
        &["run", "one", "--image=web:1"],
        &["expose", "deployment", "web", "--port=80", "--target-port=8080"],
    ] {
        stage.ok(command).await;
    }
    let secret = stage.ok(&["get", "secret", "s", "-o=jsonpath={.data.password}"]).await;
    assert_eq!(secret, "eA==");
    let port = "-o=jsonpath={.spec.ports[0].targetPort} {.spec.selector.app}";
    assert_eq!(stage.ok(&["get", "service", "web", port]).await, "8080 web");
    let address = stage.ok(&["get", "service", "plain", "-o=jsonpath={.spec.clusterIP}"]).await;
    assert!(address.starts_with("10.96."), "{address}");
    for kind in
        ["job", "cronjob", "pdb", "hpa", "ing", "sa", "role", "rolebinding", "pc", "ep", "cm"]
    {
        let list = stage.ok(&["get", kind]).await;
        assert!(list.starts_with("NAME"), "{kind}: {list}");
    }
    assert_eq!(stage.ok(&["auth", "can-i", "get", "pods"]).await.trim(), "yes");
    tables::have_the_columns_of_kubernetes(&stage).await;
}

#[tokio::test]
async fn watches_tell_of_changes() {
    // Shows get -w and what it prints of an object that comes, changes and goes.
    let stage = Stage::start_with("control").await;
    // When the watch has begun, nobody is told: if all was over by then, the next one gets longer.
    for pause_s in [1, 4, 16] {
        let (early, late) = (format!("early-{pause_s}"), format!("late-{pause_s}"));
        let watch = stage.until(&["get", "configmaps", "-w"], &late);
        let change = async {
            tokio::time::sleep(std::time::Duration::from_secs(pause_s)).await;
            stage.ok(&["create", "configmap", &early]).await;
            stage.ok(&["patch", "configmap", &early, r#"-p={"data":{"a":"b"}}"#]).await;
            stage.ok(&["delete", "configmap", &early]).await;
            stage.ok(&["create", "configmap", &late]).await;
        };
        let (seen, ()) = tokio::join!(watch, change);
        let lines: Vec<&str> = seen.lines().filter(|line| line.starts_with(&early)).collect();
        if lines.len() == 3 {
            assert!(lines[0].contains(" 0 ") && lines[1].contains(" 1 "), "{seen}");
            return;
        }
        assert!(lines.len() < 3 && pause_s < 16, "{seen}");
    }
}
