//! What is done to objects.

mod apply;
mod create;
mod delete;
mod list;
mod manager;
mod patch;
mod update;

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::path::Target;
use super::selector::{Fields, Labels};
use super::status::{Failure, Result};
use super::{ApiServer, Body, Call, respond};
use crate::objects::Document;

/// How often a write is tried anew because somebody else was faster, where the caller did not say
/// which version it means.
const TRIES_MAX: u32 = 8;

impl ApiServer {
    /// Does what the method and the target say.
    pub(super) async fn dispatch(
        &self,
        method: &Method,
        target: Target,
        call: Call,
    ) -> Result<Response<Body>> {
        if target.subresource.is_some() {
            return self.part(method, target, call).await;
        }
        match (method, target.name.is_some()) {
            (&Method::GET, false) if call.query.flag("watch")? => self.watch(target, &call).await,
            (&Method::GET, false) => self.list(&target, &call).await,
            (&Method::GET, true) => self.get(&target, &call).await,
            (&Method::POST, false) => self.create(&target, &call).await,
            (&Method::PUT, true) => self.update(&target, &call, Scope::Main).await,
            (&Method::PATCH, true) => self.patch(&target, &call, Scope::Main).await,
            (&Method::DELETE, true) => self.delete(&target, &call).await,
            (&Method::DELETE, false) => self.delete_collection(&target, &call).await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    pub(super) async fn get(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let document = self.read(target).await?;
        Ok(respond::object(StatusCode::OK, target, call.accept, &document))
    }

    /// The object of a target, as it is stored.
    pub(super) async fn read(&self, target: &Target) -> Result<Document> {
        let (resource, name) = (target.resource, target.name());
        let found = self.objects().get_document(resource, target.namespace(), name).await;
        found
            .map_err(|error| Failure::of(error, resource, name))?
            .ok_or_else(|| Failure::not_found(resource, name))
    }
}

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All but the status, where that is written apart.
    Main,
    Status,
}

impl Scope {
    /// What is to be stored if `after` is sent for `before`.
    fn confine(self, before: &Value, after: Value, has_status: bool) -> Value {
        match self {
            Self::Status => {
                let mut whole = before.clone();
                whole["status"] = after["status"].clone();
                // Owners of a status label and annotate in the same write.
                for field in ["labels", "annotations", "finalizers", "resourceVersion"] {
                    copy(&after["metadata"], &mut whole["metadata"], field);
                }
                whole
            }
            Self::Main if has_status => {
                let mut whole = after;
                copy(before, &mut whole, "status");
                whole
            }
            Self::Main => after,
        }
    }
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.shift_remove(field)),
    }
}

/// What a list or a watch chooses.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) labels: Labels,
    pub(super) fields: Fields,
}

impl Chosen {
    /// # Errors
    /// A selector is malformed.
    pub(super) fn of(call: &Call) -> Result<Self> {
        Ok(Self {
            labels: Labels::parse(call.query.get("labelSelector").unwrap_or_default())?,
            fields: Fields::parse(call.query.get("fieldSelector").unwrap_or_default())?,
        })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// Fields that only the server writes keep what is stored.
fn keep_server_fields(before: &Value, after: &mut Value) {
    let Some(old) = before["metadata"].as_object() else { return };
    let Some(new) = after["metadata"].as_object_mut() else { return };
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "namespace",
        "name",
    ] {
        match (old.get(field), new.get(field)) {
            // Another uid is told of, not mended.
            (Some(_), Some(sent)) if field == "uid" && sent.is_string() => {}
            (Some(value), _) => drop(new.insert(field.to_owned(), value.clone())),
            (None, _) => drop(new.shift_remove(field)),
        }
    }
    for field in ["selfLink", "managedFields"] {
        new.shift_remove(field);
    }
}

/// The answer of something that leaves nothing behind.
fn success(target: &Target, uid: &Value) -> Response<Body> {
    let details = json!({
        "name": target.name(), "group": target.group, "kind": target.resource.plural, "uid": uid,
    });
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    });
    respond::json(StatusCode::OK, &status)
}
