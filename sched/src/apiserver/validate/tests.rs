use serde_json::json;

use super::*;
use crate::objects::{defaults, kinds};

/// What is wrong with an object: a code, and the message.
fn wrong(plural: &str, mut value: Value) -> Option<(u16, String)> {
    let resource = kinds::by_plural(plural).unwrap();
    defaults::apply(resource, &mut value);
    let failure = check(resource, &value).err()?;
    Some((failure.code.as_u16(), failure.message))
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    });
    change(&mut value);
    value
}

fn set(pointer: &'static str, new: Value) -> impl FnOnce(&mut Value) {
    move |value| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[name] = new;
    }
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    // Proves for each kind of mistake of the issue that it is found, with the field's path.
    assert_eq!(wrong("deployments", deployment(|_| {})), None);
    let container = "/spec/template/spec/containers";
    for (change, code, text) in [
        (set("/spec/replicas", json!(-1)), 422, "spec.replicas: Invalid value: -1"),
        (set("/spec/replicas", json!("2")), 400, "spec.replicas: "),
        (set("/metadata/name", json!("Web_1")), 422, "metadata.name: Invalid value: \"Web_1\""),
        (set("/spec/selector", Value::Null), 422, "spec.selector: Required value"),
        (
            set("/spec/selector/matchLabels", json!({"app": "db"})),
            422,
            "`selector` does not match template `labels`",
        ),
        (
            set("/spec/selector/matchExpressions", json!([{"key": "a", "operator": "Near"}])),
            422,
            "spec.selector.matchExpressions[0].operator: Unsupported value: \"Near\"",
        ),
        (set(container, json!([])), 422, "spec.template.spec.containers: Required value"),
        (
            set(
                container,
                json!([{"name": "a", "image": "a", "resources": {
                "requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}]),
            ),
            422,
            "containers[0].resources.requests: Invalid value: \"2Gi\": must be less than",
        ),
        (
            set(container, json!([{"name": "a", "image": "a", "ports": [{"hostPort": 80}]}])),
            422,
            "spec.template.spec.containers[0].ports[0].containerPort: Required value",
        ),
        (
            set("/metadata/labels", json!({"a b": "c"})),
            422,
            "metadata.labels: Invalid value: \"a b\"",
        ),
    ] {
        let found = wrong("deployments", deployment(change)).expect(text);
        assert_eq!(found.0, code, "{}", found.1);
        assert!(found.1.contains(text), "{text}: {}", found.1);
    }
}

#[test]
fn whom_a_pod_asks_is_looked_at() {
    // Proves that a policy nobody knows, one without what it needs, too much of anything, and what
    // would add a line to the file are named, and that what Kubernetes takes is taken.
    let pod = |spec: Value| {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec});
        pod["spec"]["containers"] = json!([{"name": "c", "image": "c:1"}]);
        wrong("pods", pod)
    };
    let config = |config: Value| pod(json!({"dnsPolicy": "None", "dnsConfig": config}));
    let fine = json!({
        "nameservers": ["10.0.0.1", "::1"], "searches": ["a.example.", "b", "."],
        "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
    });
    assert_eq!(config(fine), None);
    let many: Vec<String> = (0..33).map(|at| format!("s{at}")).collect();
    let with = |key: &str, value: Value| {
        let mut all = json!({"nameservers": ["10.0.0.1"]});
        all[key] = value;
        config(all)
    };
    for (found, text) in [
        (pod(json!({"dnsPolicy": "First"})), "spec.dnsPolicy: Unsupported value: \"First\""),
        (pod(json!({"dnsPolicy": "None"})), "spec.dnsConfig.nameservers: Required value"),
        (with("nameservers", json!(["here"])), "spec.dnsConfig.nameservers[0]: Invalid value"),
        (with("nameservers", json!(["::1", "::2", "::3", "::4"])), "more than 3 nameservers"),
        (with("searches", json!(many)), "more than 32 search paths"),
        (with("searches", json!(["a\nnameserver 10.0.0.9"])), "spec.dnsConfig.searches[0]"),
        (with("options", json!([{"value": "1"}])), "spec.dnsConfig.options[0]: Required value"),
        (with("options", json!([{"name": "a b"}])), "spec.dnsConfig.options[0].name: Invalid"),
        (with("options", json!([{"name": "a", "value": "1\n"}])), "options[0].value: Invalid"),
    ] {
        let (code, message) = found.expect(text);
        assert_eq!(code, 422, "{message}");
        assert!(message.contains(text), "{text}: {message}");
    }
}

#[test]
fn fields_that_no_type_knows_are_found() {
    // Proves that a misspelt field is named with its path, and that known ones are not.
    let resource = kinds::by_plural("deployments").unwrap();
    let value = deployment(set("/spec/template/spec/containers/0/imagee", json!("x")));
    let unknown = unknown_fields(resource, &value).unwrap();
    assert_eq!(unknown, ["spec.template.spec.containers[0].imagee"]);
}

#[test]
fn what_is_settled_stays() {
    // Proves that a selector, a pod's spec and immutable data cannot change, and an image can.
    let change = |plural: &str, before: &Value, after: &Value| {
        let resource = kinds::by_plural(plural).unwrap();
        check_change(resource, before, after).err().map(|failure| failure.message)
    };
    let before = deployment(|_| {});
    let mut after = before.clone();
    after["spec"]["selector"]["matchLabels"]["tier"] = "a".into();
    after["spec"]["template"]["metadata"]["labels"]["tier"] = "a".into();
    let found = change("deployments", &before, &after).unwrap();
    assert!(found.contains("spec.selector: Invalid value") && found.contains("immutable"));

    let pod = |image: &str, command: &str| {
        let container = json!({"name": "a", "image": image, "command": [command]});
        json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    };
    assert_eq!(change("pods", &pod("a:1", "x"), &pod("a:2", "x")), None);
    assert!(change("pods", &pod("a:1", "x"), &pod("a:1", "y")).unwrap().contains("pod updates"));
    let data =
        |value: &str| json!({"metadata": {"name": "c"}, "immutable": true, "data": {"a": value}});
    assert!(change("configmaps", &data("1"), &data("2")).unwrap().contains("data: Forbidden"));
}
