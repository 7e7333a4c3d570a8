//! Making objects.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::fields::{self, Operation, Owners};
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, admit, body, convert, respond, validate};
use super::manager::writer;
use super::{Scope, TRIES_MAX};
use crate::objects::kinds::Resource;
use crate::objects::{Beside, Document, Error, ErrorKind, defaults};

impl ApiServer {
    pub(super) async fn create(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let value = body::document(&call.media_type, &call.body)?;
        self.create_value(target, call, value, None).await
    }

    /// Whoever creates owns all that the object then says, unless its `owners` are known.
    pub(super) async fn create_value(
        &self,
        target: &Target,
        call: &Call,
        mut value: Value,
        owners: Option<Owners>,
    ) -> Result<Response<Body>> {
        let resource = target.resource;
        let mut warnings = self.accept_body(target, call, &mut value)?;
        if resource.namespaced && target.namespace.is_none() {
            return Err(Failure::bad_request("a namespace is required: POST to a namespace"));
        }
        if super::super::discovery::has_status(resource)
            && let Some(object) = value.as_object_mut()
        {
            object.shift_remove("status");
        }
        admit::settle(resource, &mut value);
        defaults::apply(resource, &mut value);
        let owners = match owners {
            Some(owners) => owners,
            None => {
                let writer = writer(target, call, Scope::Main, Operation::Update)?;
                fields::update(None, &value, Owners::default(), &writer)
            }
        };
        owners.write(&Value::Null, &mut value);
        admit::check(self.objects(), resource, &mut value).await?;
        validate::check(resource, &value)?;
        self.check_grant(&call.user, target, None, &value).await?;
        let document = self.store_new(target, value, call.query.is_dry_run()?).await?;
        let mut response = respond::object(StatusCode::CREATED, target, call.accept, &document);
        warnings.drain(..).for_each(|text| respond::warn(&mut response, &text));
        Ok(response)
    }

    /// Checks that a body is for this target, and brings it to the version that is stored. Returns
    /// what the caller is to be told.
    pub(super) fn accept_body(
        &self,
        target: &Target,
        call: &Call,
        value: &mut Value,
    ) -> Result<Vec<String>> {
        check_kind(target, value)?;
        let mut warnings = convert::incoming(target, value);
        match call.query.get("fieldValidation") {
            Some("Ignore") | None => {}
            Some(mode @ ("Strict" | "Warn")) => {
                let unknown = validate::unknown_fields(target.resource, value)?;
                let lines = unknown.iter().map(|path| format!("unknown field \"{path}\""));
                let lines: Vec<String> = lines.collect();
                if mode == "Warn" {
                    warnings.extend(lines);
                } else if !lines.is_empty() {
                    let message = format!(
                        "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                        target.resource.kind,
                        target.version,
                        target.resource.kind,
                        lines.join(", ")
                    );
                    return Err(Failure::bad_request(message));
                }
            }
            Some(other) => {
                let message = format!("fieldValidation={other}: expected Ignore, Warn or Strict");
                return Err(Failure::bad_request(message));
            }
        }
        Ok(warnings)
    }

    /// Stores a new object, with what it claims, in a namespace that is there.
    async fn store_new(&self, target: &Target, value: Value, dry: bool) -> Result<Document> {
        let resource = target.resource;
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let mut beside = Beside::default();
            if let Some(namespace) = target.namespace() {
                beside.compare.push(admit::namespace(self.objects(), target, namespace).await?);
            }
            let mut value = value.clone();
            if let Some(node) = bound_to(resource, &value) {
                let touched = self.touch_allocation(node).await;
                let touched = touched.map_err(|error| Failure::of(error, resource, &name))?;
                beside.compare.extend(touched.compare);
                beside.write.extend(touched.write);
            }
            if resource.plural == "services" {
                self.claim_addresses(&mut value, None, &mut beside).await?;
            }
            if dry {
                return self.pretend(target, value, &name).await;
            }
            match self.objects().create_beside(resource, value, &beside).await {
                Err(error) if error.kind == ErrorKind::Conflict => last = Some(error),
                Err(error) => return Err(Failure::of(error, resource, &name)),
                Ok(document) => return Ok(document),
            }
        }
        let error = last.unwrap_or_else(|| Error::new(ErrorKind::Conflict, "too many tries"));
        Err(Failure::of(error, resource, &name))
    }

    /// What would be stored.
    async fn pretend(&self, target: &Target, value: Value, name: &str) -> Result<Document> {
        let resource = target.resource;
        let found = self.objects().get_document(resource, target.namespace(), name).await;
        if found.map_err(|error| Failure::of(error, resource, name))?.is_some() {
            let message = format!("{} \"{name}\" already exists", resource.qualified());
            let error = Error::new(ErrorKind::AlreadyExists, message);
            return Err(Failure::of(error, resource, name));
        }
        let value = crate::objects::as_created(resource, value);
        value
            .map(|value| Document { value, revision: 0 })
            .map_err(|error| Failure::of(error, resource, name))
    }
}

fn check_kind(target: &Target, value: &mut Value) -> Result<()> {
    let expected = (target.api_version(), target.resource.kind);
    let Some(object) = value.as_object_mut() else {
        return Err(Failure::bad_request("expected an object"));
    };
    let sent = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (sent("apiVersion"), sent("kind"));
    if !version.is_empty() && version != expected.0 || !kind.is_empty() && kind != expected.1 {
        let message =
            format!("the object is a {version} {kind}; expected {} {}", expected.0, expected.1);
        return Err(Failure::bad_request(message));
    }
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Failure::bad_request("metadata: expected an object"));
    };
    place(target, metadata)
}

/// Name and namespace are those of the path; the body may leave them out.
fn place(target: &Target, metadata: &mut serde_json::Map<String, Value>) -> Result<()> {
    let pairs = [("namespace", target.namespace()), ("name", target.name.as_deref())];
    for (field, wanted) in pairs {
        let sent = metadata.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (sent, wanted) {
            (Some(sent), Some(wanted)) if sent != wanted => {
                return Err(Failure::bad_request(format!(
                    "the {field} of the provided object does not match the {field} sent on the \
                     request ({sent} and {wanted})"
                )));
            }
            (_, Some(wanted)) => drop(metadata.insert(field.to_owned(), wanted.into())),
            (None, None) => drop(metadata.shift_remove(field)),
            (Some(_), None) if field == "namespace" && !target.resource.namespaced => {
                metadata.shift_remove(field);
            }
            (Some(_), None) => {}
        }
    }
    Ok(())
}

/// The node that a pod is made for, if it names one.
fn bound_to<'v>(resource: &Resource, value: &'v Value) -> Option<&'v str> {
    let node = value["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    node.filter(|_| resource.plural == "pods")
}
