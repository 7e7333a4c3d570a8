//! Patches: the four ways in which a client says what is to be different.

mod strategic;

use serde_json::{Value, json};

use super::body;
use super::status::{Failure, Result};

/// What a patch does to a document, by its media type.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    /// RFC 6902
    Json(json_patch::Patch),
    /// RFC 7386
    Merge(Value),
    Strategic(Value),
    /// What the one who applies it wants to be so.
    Apply(Value),
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
            "application/apply-patch+yaml" => body::document(media_type, bytes).map(Self::Apply),
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
            Self::Json(patch) => json_patch::patch(&mut after, patch).map_err(|error| {
                let code = http::StatusCode::UNPROCESSABLE_ENTITY;
                let message = format!("the server rejected our request due to an error: {error}");
                Failure::new(code, "Invalid", message)
            })?,
            Self::Merge(patch) => json_patch::merge(&mut after, patch),
            Self::Strategic(patch) | Self::Apply(patch) => strategic::merge(&mut after, patch)?,
        }
        if !after["metadata"].is_object() {
            return Err(Failure::bad_request("a patch may not remove metadata"));
        }
        Ok(after)
    }

    /// The object that is made if there is none; only applying does that.
    pub(super) fn creates(&self) -> Option<Value> {
        match self {
            Self::Apply(document) => {
                let mut document = document.clone();
                if !document["metadata"].is_object() {
                    document["metadata"] = json!({});
                }
                Some(document)
            }
            _ => None,
        }
    }
}

fn object(bytes: &[u8]) -> Result<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::bad_request("error decoding patch: expected an object")),
        Err(error) => Err(Failure::bad_request(format!("error decoding patch: {error}"))),
    }
}
