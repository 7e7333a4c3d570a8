//! Roles, and what binds them.

use serde_json::Value;

use super::super::status::FieldError;
use super::pod::{list, supported};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn check(plural: &str, value: &Value, errors: &mut Vec<FieldError>) {
    match plural {
        "roles" | "clusterroles" => check_rules(plural, &value["rules"], errors),
        "rolebindings" => check_binding(value, &["ClusterRole", "Role"], errors),
        // What holds everywhere cannot be a namespace's.
        "clusterrolebindings" => check_binding(value, &["ClusterRole"], errors),
        _ => {}
    }
}

fn check_rules(plural: &str, rules: &Value, errors: &mut Vec<FieldError>) {
    for (at, rule) in list(rules).enumerate() {
        let path = format!("rules[{at}]");
        let has = |field: &str| list(&rule[field]).next().is_some();
        if !has("verbs") {
            let why = "verbs must contain at least one value";
            errors.push(FieldError::required(format!("{path}.verbs"), why));
        }
        if has("nonResourceURLs") {
            if plural == "roles" || has("apiGroups") || has("resources") {
                let why = "paths that are no resources belong to a ClusterRole's rule of their own";
                let path = format!("{path}.nonResourceURLs");
                errors.push(FieldError::invalid(path, &rule["nonResourceURLs"], why));
            }
            continue;
        }
        for field in ["apiGroups", "resources"] {
            if !has(field) {
                let why = format!("resource rules must supply at least one of {field}");
                errors.push(FieldError::required(format!("{path}.{field}"), &why));
            }
        }
    }
}

fn check_binding(value: &Value, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let role = &value["roleRef"];
    supported("roleRef.kind", &role["kind"], kinds, errors);
    if role["apiGroup"] != "" {
        supported("roleRef.apiGroup", &role["apiGroup"], &[GROUP], errors);
    }
    for field in ["kind", "name"] {
        if role[field].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("roleRef.{field}"), ""));
        }
    }
    for (at, subject) in list(&value["subjects"]).enumerate() {
        let path = format!("subjects[{at}]");
        let kind = subject["kind"].as_str().unwrap_or_default();
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{path}.kind"), ""));
        }
        let kinds = ["Group", "ServiceAccount", "User"];
        supported(&format!("{path}.kind"), &subject["kind"], &kinds, errors);
        let named: &[&str] =
            if kind == "ServiceAccount" { &["name", "namespace"] } else { &["name"] };
        for field in named {
            if subject[*field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            }
        }
    }
}
