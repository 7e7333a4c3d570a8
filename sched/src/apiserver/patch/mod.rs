//! Patches: the ways in which a client says what is to be different. Applying is another thing: it
//! says what is to be so (`fields/`).

mod strategic;

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

fn apply_json(document: &mut Value, patch: &json_patch::Patch) -> Result<()> {
    let is_copy =
        |one: &&json_patch::PatchOperation| matches!(one, json_patch::PatchOperation::Copy(_));
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
