//! Patches: the ways in which a client says what is to be different. Applying is another thing: it
//! says what is to be so (`fields/`).

mod strategic;

use json_patch::PatchOperation;
use serde_json::Value;

use super::body;
use super::status::{Failure, Result};

pub(super) use strategic::{is_set, merge_key};

/// What a patch does to a document, by its media type.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    /// RFC 6902
    Json(json_patch::Patch),
    /// RFC 7386
    Merge(Value),
    Strategic(Value),
}

/// The media type of what is applied.
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// Operations of one JSON patch, as in Kubernetes.
const OPERATIONS_MAX: usize = 10_000;
/// Those that copy: each may double a document.
const COPIES_MAX: usize = 100;
/// Objects and lists in each other. Parsers, this one too, read 127.
const DEPTH_MAX: usize = 120;

fn apply_json(document: &mut Value, patch: &json_patch::Patch) -> Result<()> {
    let is_copy = |one: &&PatchOperation| matches!(one, PatchOperation::Copy(_));
    let copies = patch.0.iter().filter(is_copy).count();
    if patch.0.len() > OPERATIONS_MAX || copies > COPIES_MAX {
        let message = format!(
            "a JSON patch may have {OPERATIONS_MAX} operations, {COPIES_MAX} of them copies; this \
             one has {} and {copies}",
            patch.0.len()
        );
        let code = http::StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Failure::new(code, "RequestEntityTooLarge", message));
    }
    check_depth(document, patch)?;
    // After each copy the document is weighed; without copies it cannot grow past the patch.
    let mut rest = &patch.0[..];
    while !rest.is_empty() {
        let len = rest.iter().position(|one| is_copy(&one)).map_or(rest.len(), |at| at + 1);
        let (now, later) = rest.split_at(len);
        json_patch::patch(document, now).map_err(|error| {
            let code = http::StatusCode::UNPROCESSABLE_ENTITY;
            let message = format!("the server rejected our request due to an error: {error}");
            Failure::new(code, "Invalid", message)
        })?;
        rest = later;
        if copies > 0 && document.to_string().len() > body::BODY_BYTES_MAX {
            let message = "the patch makes the object larger than a request may be";
            let code = http::StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Failure::new(code, "RequestEntityTooLarge", message));
        }
    }
    Ok(())
}

/// Operations put things into things: a document that is too deep could be stored, and never read
/// again. Counts what the operations could make at most.
fn check_depth(document: &Value, patch: &json_patch::Patch) -> Result<()> {
    let mut deepest = depth(document);
    for operation in &patch.0 {
        let put = match operation {
            PatchOperation::Add(add) => add.path.count() + depth(&add.value),
            PatchOperation::Replace(replace) => replace.path.count() + depth(&replace.value),
            PatchOperation::Move(one) => {
                one.path.count() + deepest.saturating_sub(one.from.count())
            }
            PatchOperation::Copy(one) => {
                one.path.count() + deepest.saturating_sub(one.from.count())
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => continue,
        };
        if put > DEPTH_MAX {
            let message = format!("the patch nests more than {DEPTH_MAX} objects in each other");
            let code = http::StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Failure::new(code, "Invalid", message));
        }
        deepest = deepest.max(put);
    }
    Ok(())
}

/// How many objects and lists are in each other; the parser has bounded it.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Array(elements) => elements.iter().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
}

impl Patch {
    /// # Errors
    /// It is of another media type, or malformed.
    pub(super) fn parse(media_type: &str, bytes: &[u8]) -> Result<Self> {
        let malformed = |error: serde_json::Error| {
            Failure::bad_request(format!("error decoding patch: {error}"))
        };
        match media_type {
            "application/json-patch+json" => {
                serde_json::from_slice(bytes).map(Self::Json).map_err(malformed)
            }
            "application/merge-patch+json" => object(bytes).map(Self::Merge),
            "application/strategic-merge-patch+json" => object(bytes).map(Self::Strategic),
            other => Err(body::unsupported(other)),
        }
    }

    /// The document as it is to be.
    ///
    /// # Errors
    /// The patch does not fit the document.
    pub(super) fn apply(&self, document: &Value) -> Result<Value> {
        let mut after = document.clone();
        match self {
            Self::Json(patch) => apply_json(&mut after, patch)?,
            Self::Merge(patch) => json_patch::merge(&mut after, patch),
            Self::Strategic(patch) => strategic::merge(&mut after, patch)?,
        }
        if !after["metadata"].is_object() {
            return Err(Failure::bad_request("a patch may not remove metadata"));
        }
        Ok(after)
    }
}

fn object(bytes: &[u8]) -> Result<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::bad_request("error decoding patch: expected an object")),
        Err(error) => Err(Failure::bad_request(format!("error decoding patch: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(operations: &Value) -> Result<Value> {
        let bytes = operations.to_string().into_bytes();
        let patch = Patch::parse("application/json-patch+json", &bytes)?;
        patch.apply(&json!({"metadata": {}, "a": {"b": {}}}))
    }

    #[test]
    fn operations_nest_only_what_can_be_read_again() {
        // Proves that putting, copying and moving things into each other ends at a bound, before
        // anything is done, and that what is not deep passes.
        let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "x": inner }));
        let put =
            |levels| patched(&json!([{"op": "add", "path": "/a/b/c", "value": deep(levels)}]));
        assert_eq!(put(100).unwrap()["a"]["b"]["c"], deep(100));
        assert!(put(120).unwrap_err().message.contains("nests more than 120"));
        let doubling: Vec<Value> =
            (0..90).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/b/c"})).collect();
        assert!(patched(&json!(doubling)).is_err());
        let moves: Vec<Value> = (0..200)
            .flat_map(|_| {
                [
                    json!({"op": "add", "path": "/m", "value": {}}),
                    json!({"op": "move", "from": "/a", "path": "/m/n"}),
                    json!({"op": "move", "from": "/m", "path": "/a"}),
                ]
            })
            .collect();
        assert!(patched(&json!(moves)).is_err());
        let fine = json!([{"op": "move", "from": "/a/b", "path": "/c"}]);
        assert_eq!(patched(&fine).unwrap(), json!({"metadata": {}, "a": {}, "c": {}}));
    }
}
