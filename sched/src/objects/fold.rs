//! Carrying a change of the typed view over to the document, so that fields survive which no type
//! here knows.

use serde_json::{Map, Value};

/// What an element of a list goes by, in this order.
const NAMES: [&str; 5] = ["name", "uid", "type", "ip", "containerPort"];

/// Does to `document` what leads from `before` to `after`; both are views of it.
pub(super) fn fold(before: &Value, after: &Value, document: &mut Value) {
    if before == after {
        return;
    }
    match (before, after, &mut *document) {
        (Value::Object(before), Value::Object(after), Value::Object(document)) => {
            fold_object(before, after, document);
        }
        (Value::Array(before), Value::Array(after), Value::Array(document)) => {
            fold_array(before, after, document);
        }
        _ => *document = after.clone(),
    }
}

fn fold_object(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    document: &mut Map<String, Value>,
) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        document.shift_remove(name);
    }
    for (name, after) in after {
        let before = before.get(name).unwrap_or(&Value::Null);
        if before != after {
            fold(before, after, document.entry(name).or_insert(Value::Null));
        }
    }
}

fn fold_array(before: &[Value], after: &[Value], document: &mut Vec<Value>) {
    let old = std::mem::take(document);
    for (at, after) in after.iter().enumerate() {
        let was = counterpart(before, after, at).zip(counterpart(&old, after, at));
        document.push(match was {
            Some((before, old)) => {
                let mut element = old.clone();
                fold(before, after, &mut element);
                element
            }
            None => after.clone(),
        });
    }
}

/// The element that goes by the same name, or stands in the same place if it has none.
fn counterpart<'a>(list: &'a [Value], element: &Value, at: usize) -> Option<&'a Value> {
    let name = NAMES.iter().find(|name| element.get(name).is_some_and(|value| !value.is_null()));
    match name {
        Some(name) => list.iter().find(|other| other.get(name) == element.get(name)),
        None => list.get(at),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_survive() {
        // Proves that what the view does not show stays, in lists too, also when their order
        // changes, and that what the view drops goes.
        let before = json!({"a": 1, "list": [{"name": "x", "n": 1}, {"name": "y"}], "gone": 1});
        let after = json!({"a": 2, "list": [{"name": "y"}, {"name": "x", "n": 2}, {"name": "z"}]});
        let mut document = json!({
            "a": 1, "gone": 1, "ours": true,
            "list": [{"name": "x", "n": 1, "ours": 1}, {"name": "y", "ours": 2}],
        });
        fold(&before, &after, &mut document);
        let expected = json!({
            "a": 2, "ours": true,
            "list": [{"name": "y", "ours": 2}, {"name": "x", "n": 2, "ours": 1}, {"name": "z"}],
        });
        assert_eq!(document, expected);
    }
}
