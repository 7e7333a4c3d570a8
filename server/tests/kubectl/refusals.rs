//! Bad input: a clear error, and nothing changes.

use crate::stage::{Stage, WEB};

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    // Shows for each kind of mistake that kubectl fails with a text that names it.
    let stage = Stage::start_with("control").await;
    let create = ["create", "-f", "-"];
    let blind = ["create", "--validate=false", "-f", "-"];
    for (file, text) in [
        (WEB.replace("replicas: 2", "replicas: -1"), "spec.replicas: Invalid value: -1"),
        (WEB.replace("replicas: 2", "replicas: two"), "spec.replicas"),
        (WEB.replace("{name: web}\nspec", "{name: Web_}\nspec"), "metadata.name: Invalid value"),
        (
            WEB.replace("matchLabels: {app: web}", "matchLabels: {app: b}"),
            "does not match template",
        ),
        (WEB.replace("kind: Deployment", "kind: Deploy"), "no matches for kind"),
        (
            WEB.replace(
                "image: 'web:1'",
                "resources: {requests: {cpu: 2}, limits: {cpu: 1}}, image: a",
            ),
            "must be less than or equal to cpu limit",
        ),
        (
            WEB.replace("metadata: {name: web}", "metadata: {name: web, namespace: none}"),
            "namespaces \"none\" not found",
        ),
        ("{".to_owned(), "error"),
    ] {
        let said = stage.fails_with(&blind, &file).await;
        assert!(said.contains(text), "{text}: {said}");
    }
    // As kubectl asks from 1.25 on; before, it looks at a document itself, if it knows the schema.
    let strict = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict";
    let misspelt = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicsa": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}}"#;
    let said = stage.fails_with(&["create", "--raw", strict, "-f", "-"], misspelt).await;
    assert!(said.contains("replicsa"), "{said}");
    let said = stage.fails_with(&["get", "pods", "-l", "a in b"], "").await;
    assert!(said.contains("unable to parse requirement") || said.contains("a in b"), "{said}");
    let said = stage.fails_with(&["get", "pod", "none"], "").await;
    assert!(said.contains("pods \"none\" not found"), "{said}");
    assert!(stage.ok(&["get", "deploy", "-A", "-o=jsonpath={.items}"]).await.contains("[]"));
    stage.ok_with(&create, WEB).await;
    let said = stage.fails_with(&create, WEB).await;
    assert!(said.contains("already exists"), "{said}");
    let said = stage.fails_with(&["delete", "namespace", "default"], "").await;
    assert!(said.contains("may not be deleted"), "{said}");
}
