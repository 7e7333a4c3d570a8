//! Strategic merge patch: as a merge patch, but lists of things with names are merged name by name.
//!
//! Which lists those are depends on the type; [`merge_key`] is the table. The directives are
//! Kubernetes' own: `$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`.

use serde_json::{Map, Value, json};

use super::super::status::{Failure, Result};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const REMOVE: &str = "$deleteFromPrimitiveList/";

/// How the elements of a list are told apart, by the name of the list and of what it is in.
pub(in super::super) fn merge_key(parent: &str, list: &str) -> Option<&'static str> {
    Some(match (parent, list) {
        ("spec", "ports") => "port",
        (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env") => "name",
        (_, "imagePullSecrets" | "secrets" | "resourceClaims") => "name",
        (_, "ports") => "containerPort",
        (_, "volumeMounts") => "mountPath",
        (_, "volumeDevices") => "devicePath",
        (_, "conditions" | "addresses") => "type",
        (_, "topologySpreadConstraints") => "topologyKey",
        (_, "hostAliases" | "podIPs") => "ip",
        (_, "ownerReferences") => "uid",
        _ => return None,
    })
}

/// Lists of plain values that are sets.
pub(in super::super) fn is_set(list: &str) -> bool {
    list == "finalizers"
}

/// # Errors
/// A directive is malformed, or an element has no name.
pub(super) fn merge(document: &mut Value, patch: &Value) -> Result<()> {
    let Some(patch) = patch.as_object() else {
        *document = patch.clone();
        return Ok(());
    };
    merge_object("", document, patch)
}

/// `parent`: the name of the field that the object is in; for an element, that of the list.
fn merge_object(parent: &str, document: &mut Value, patch: &Map<String, Value>) -> Result<()> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace")) => {
            *document = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some(Some("delete")) => {
            *document = json!({});
            return Ok(());
        }
        Some(other) => {
            let message = format!("unknown directive $patch: {}", other.unwrap_or("not a text"));
            return Err(Failure::bad_request(message));
        }
    }
    if !document.is_object() {
        *document = json!({});
    }
    let Some(object) = document.as_object_mut() else { return Ok(()) };
    if let Some(retained) = patch.get(RETAIN).and_then(Value::as_array) {
        object.retain(|name, _| retained.iter().any(|one| one == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(REMOVE) {
            remove(object.get_mut(list), value);
        } else if !name.starts_with('$') {
            let order = patch.get(&format!("{ORDER}{name}"));
            merge_field(parent, object, name, value, order)?;
        }
    }
    // An order may come without changes to the list.
    for (name, order) in patch {
        if let Some(list) = name.strip_prefix(ORDER)
            && !patch.contains_key(list)
            && let Some(Value::Array(items)) = object.get_mut(list)
        {
            sort(items, order, merge_key(parent, list));
        }
    }
    Ok(())
}

fn merge_field(
    parent: &str,
    object: &mut Map<String, Value>,
    name: &str,
    patch: &Value,
    order: Option<&Value>,
) -> Result<()> {
    match patch {
        Value::Null => {
            object.shift_remove(name);
        }
        Value::Object(patch) => {
            let field = object.entry(name).or_insert(Value::Null);
            merge_object(name, field, patch)?;
        }
        Value::Array(patch) => {
            let key = merge_key(parent, name);
            let field = object.entry(name).or_insert_with(|| json!([]));
            if field.is_null() {
                *field = json!([]);
            }
            match (key, field) {
                (Some(key), Value::Array(items)) => merge_list(name, key, items, patch)?,
                (None, Value::Array(items)) if is_set(name) => {
                    for value in patch.iter().filter(|value| !value.is_null()) {
                        if !items.contains(value) {
                            items.push(value.clone());
                        }
                    }
                }
                (_, field) => *field = Value::Array(patch.clone()),
            }
            if let (Some(order), Some(Value::Array(items))) = (order, object.get_mut(name)) {
                sort(items, order, key);
            }
        }
        other => {
            object.insert(name.to_owned(), other.clone());
        }
    }
    Ok(())
}

fn merge_list(list: &str, key: &str, items: &mut Vec<Value>, patch: &[Value]) -> Result<()> {
    let directive = |element: &Value| element[DIRECTIVE].as_str().map(str::to_owned);
    if patch
        .iter()
        .any(|one| directive(one).as_deref() == Some("replace") && one.get(key).is_none())
    {
        *items = patch.iter().filter(|element| directive(element).is_none()).cloned().collect();
        return Ok(());
    }
    for element in patch {
        let (Some(name), Some(fields)) = (element.get(key), element.as_object()) else {
            let message = format!("map: {element} does not contain declared merge key: {key}");
            return Err(Failure::bad_request(message));
        };
        let at = items.iter().position(|item| item.get(key) == Some(name));
        match (directive(element).as_deref(), at) {
            (Some("delete"), Some(at)) => drop(items.remove(at)),
            (Some("delete"), None) => {}
            (_, Some(at)) => merge_object(list, &mut items[at], fields)?,
            (_, None) => {
                let mut new = json!({});
                merge_object(list, &mut new, &without_directives(fields))?;
                items.push(new);
            }
        }
    }
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let fields = patch.iter().filter(|(name, _)| !name.starts_with('$'));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn remove(list: Option<&mut Value>, gone: &Value) {
    if let (Some(Value::Array(items)), Value::Array(gone)) = (list, gone) {
        items.retain(|item| !gone.contains(item));
    }
}

/// Puts those that the order names into this order; the others stay behind the one they followed.
fn sort(items: &mut [Value], order: &Value, key: Option<&str>) {
    let Some(order) = order.as_array() else { return };
    let place = |item: &Value| match key {
        Some(key) => order.iter().position(|one| one.get(key) == item.get(key)),
        None => order.iter().position(|one| one == item),
    };
    let mut last = 0;
    let mut places: Vec<(usize, usize, Value)> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        last = place(item).unwrap_or(last);
        places.push((last, at, item.clone()));
    }
    places.sort_by_key(|(place, at, _)| (*place, *at));
    for (slot, (_, _, item)) in items.iter_mut().zip(places) {
        *slot = item;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(document: &Value, patch: &Value) -> Value {
        let mut document = document.clone();
        merge(&mut document, patch).unwrap();
        document
    }

    #[test]
    fn lists_are_merged_by_name() {
        // Proves merging, adding, deleting and ordering in a list with names, replacing a plain
        // list, removing a field, and that what a patch does not name stays.
        let document = json!({"spec": {
            "paused": true,
            "containers": [
                {"name": "a", "image": "a:1", "args": ["x"], "ports": [{"containerPort": 80}]},
                {"name": "b", "image": "b:1"},
            ],
        }});
        let patch = json!({"spec": {
            "paused": null,
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [
                {"name": "a", "image": "a:2", "args": ["y"],
                 "ports": [{"containerPort": 81, "protocol": "TCP"}]},
                {"name": "b", "$patch": "delete"},
                {"name": "c", "image": "c:1"},
            ],
        }});
        let expected = json!({"spec": {"containers": [
            {"name": "c", "image": "c:1"},
            {"name": "a", "image": "a:2", "args": ["y"],
             "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "TCP"}]},
        ]}});
        assert_eq!(merged(&document, &patch), expected);
    }

    #[test]
    fn directives_are_obeyed() {
        // Proves `$retainKeys`, `$patch: replace` of an object and of a list, and sets.
        let document = json!({
            "metadata": {"finalizers": ["a", "b"]},
            "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                     "volumes": [{"name": "v"}], "template": {"x": 1}},
        });
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"},
                     "volumes": [{"$patch": "replace"}, {"name": "w"}],
                     "template": {"$patch": "replace", "y": 2}},
        });
        let expected = json!({
            "metadata": {"finalizers": ["b", "c"]},
            "spec": {"strategy": {"type": "Recreate"}, "volumes": [{"name": "w"}],
                     "template": {"y": 2}},
        });
        assert_eq!(merged(&document, &patch), expected);
        let unnamed = json!({"spec": {"volumes": [{"emptyDir": {}}]}});
        assert!(merge(&mut document.clone(), &unnamed).is_err());
    }
}
