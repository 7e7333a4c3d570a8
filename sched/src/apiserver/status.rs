//! What went wrong, as Kubernetes' `Status`, which kubectl prints well.

use http::StatusCode;
use serde_json::{Value, json};

use super::fields::Conflict;
use crate::kv;
use crate::objects::kinds::Resource;
use crate::objects::{Error, ErrorKind};

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// A request that was not done, and why.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: StatusCode,
    reason: &'static str,
    pub(super) message: String,
    details: Value,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    /// Where: `spec.containers[0].name`.
    pub(super) path: String,
    /// What `Status` calls it: `FieldValueInvalid`, for example.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl FieldError {
    pub(super) fn required(path: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Self { path: path.into(), reason: "FieldValueRequired", message }
    }

    pub(super) fn invalid(path: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { path: path.into(), reason: "FieldValueInvalid", message }
    }

    pub(super) fn forbidden(path: impl Into<String>, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self { path: path.into(), reason: "FieldValueForbidden", message }
    }

    pub(super) fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {value}");
        Self { path: path.into(), reason: "FieldValueDuplicate", message }
    }

    pub(super) fn unsupported(path: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        Self { path: path.into(), reason: "FieldValueNotSupported", message }
    }
}

impl Failure {
    pub(super) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn unknown_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let qualified = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    pub(super) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(super) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let kind = match resource.group {
            "" => resource.kind.to_owned(),
            group => format!("{}.{group}", resource.kind),
        };
        let lines: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
        let all = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| {
                json!({"reason": error.reason, "message": error.message, "field": error.path})
            })
            .collect();
        let message = format!("{kind} \"{name}\" is invalid: {all}");
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        failure.details = json!({
            "name": name, "group": resource.group, "kind": resource.kind, "causes": causes,
        });
        failure
    }

    /// What was applied wants fields of others to be otherwise.
    pub(super) fn apply_conflict(conflicts: &[Conflict]) -> Self {
        let cause = |one: &Conflict| {
            let message = format!("conflict with {}", one.owner);
            json!({"reason": "FieldManagerConflict", "message": message, "field": one.path})
        };
        let causes: Vec<Value> = conflicts.iter().map(cause).collect();
        let message = Conflict::message(conflicts);
        let mut failure = Self::new(StatusCode::CONFLICT, "Conflict", message);
        failure.details = json!({"causes": causes});
        failure
    }

    /// A parameter of a patch is wrong.
    pub(super) fn invalid_patch_options(error: &FieldError) -> Self {
        let FieldError { path, reason, message } = error;
        let causes = json!([{"reason": reason, "message": message, "field": path}]);
        let text = format!("PatchOptions.meta.k8s.io \"\" is invalid: {path}: {message}");
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
        failure.details = json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes});
        failure
    }

    /// Whether it failed because there is an object of this name.
    pub(super) fn is_already_there(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        self
    }

    /// What became of an object that was to be read or written.
    pub(super) fn of(error: Error, resource: &Resource, name: &str) -> Self {
        let Error { kind, message } = error;
        match kind {
            ErrorKind::AlreadyExists => {
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
            }
            ErrorKind::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
            }
            ErrorKind::Conflict => Self::conflict(resource, name, &message),
            ErrorKind::Invalid => Self::bad_request(message),
            ErrorKind::Fenced | ErrorKind::Unreadable => Self::internal(message),
            ErrorKind::Store(kv::Kind::Compacted) => Self::expired(format!(
                "The resourceVersion is too old: {message}; list again and go on from there"
            )),
            ErrorKind::Store(kv::Kind::Unreachable) => {
                let message = format!("the store does not answer: {message}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
            }
            ErrorKind::Store(_) => Self::internal(message),
        }
    }

    /// The document that says so.
    pub(super) fn document(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
