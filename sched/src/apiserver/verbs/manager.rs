//! In whose name a request writes fields.

use serde_json::json;

use super::super::body::MANAGER_LETTERS_MAX;
use super::super::fields::{Operation, Writer};
use super::super::path::Target;
use super::super::status::{Failure, FieldError, Result};
use super::super::{Call, discovery};
use super::Scope;
use crate::objects::clock;

/// Who writes: the one that the request names, or the client by its own name.
///
/// Fields go by the version that is stored, whichever the request is for.
///
/// # Errors
/// The name is too long or cannot be printed; who applies does not say one.
pub(super) fn writer(
    target: &Target,
    call: &Call,
    scope: Scope,
    operation: Operation,
) -> Result<Writer> {
    let named = call.query.get("fieldManager");
    let manager = match (named, operation) {
        (Some(name), _) => checked(name)?,
        (None, Operation::Apply) => {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_patch_options(&error));
        }
        (None, Operation::Update) if call.agent.is_empty() => "unknown".to_owned(),
        (None, Operation::Update) => call.agent.clone(),
    };
    Ok(Writer {
        manager,
        operation,
        api_version: target.resource.api_version(),
        subresource: target.subresource.clone().unwrap_or_default(),
        time: clock::text(clock::now()),
        apart: match scope {
            Scope::Status => Some("spec"),
            Scope::Main => discovery::has_status(target.resource).then_some("status"),
        },
    })
}

fn checked(name: &str) -> Result<String> {
    let refused = |why: &str| {
        let error = FieldError::invalid("fieldManager", &json!(name), why);
        Err(Failure::invalid_patch_options(&error))
    };
    if name.chars().count() > MANAGER_LETTERS_MAX {
        return refused(&format!("may not be more than {MANAGER_LETTERS_MAX} characters"));
    }
    if name.chars().any(char::is_control) {
        return refused("should only contain printable characters");
    }
    Ok(name.to_owned())
}

/// Only who applies may take what others have.
///
/// # Errors
/// The request says `force`.
pub(super) fn refuse_force(call: &Call) -> Result<()> {
    if call.query.get("force").is_some() {
        let why = "may not be specified for non-apply patch";
        return Err(Failure::invalid_patch_options(&FieldError::forbidden("force", why)));
    }
    Ok(())
}
