//! Deleting objects, one or many.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, body, respond};
use super::{Chosen, success};
use crate::objects::{Delete, ErrorKind, Propagation};

/// Namespaces that others rely on.
const KEPT: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl ApiServer {
    pub(super) async fn delete(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let (resource, name) = (target.resource, target.name());
        let (options, dry) = options(call)?;
        if resource.plural == "namespaces" && KEPT.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(Failure::forbidden(resource, name, why));
        }
        if dry {
            let found = self.read(target).await?;
            return Ok(success(target, &found.value["metadata"]["uid"]));
        }
        let deleted =
            self.objects().delete_document(resource, target.namespace(), name, &options).await;
        let deleted = deleted.map_err(|error| Failure::of(error, resource, name))?;
        if deleted.value["metadata"]["deletionTimestamp"].is_string() {
            return Ok(respond::object(StatusCode::OK, target, call.accept, &deleted));
        }
        Ok(success(target, &deleted.value["metadata"]["uid"]))
    }

    pub(super) async fn delete_collection(
        &self,
        target: &Target,
        call: &Call,
    ) -> Result<Response<Body>> {
        let resource = target.resource;
        if resource.namespaced && target.namespace.is_none() {
            return Err(Failure::method_not_allowed());
        }
        let (mut options, dry) = options(call)?;
        options.uid = None;
        options.revision = None;
        let chosen = Chosen::of(call)?;
        let listed = self.objects().list_documents(resource, target.namespace()).await;
        let listed = listed.map_err(|error| Failure::of(error, resource, ""))?;
        let mut gone = Vec::new();
        for document in listed.items.iter().filter(|document| chosen.matches(&document.value)) {
            let name = document.name();
            if resource.plural == "namespaces" && KEPT.contains(&name) {
                continue;
            }
            if !dry {
                let deleted = self
                    .objects()
                    .delete_document(resource, target.namespace(), name, &options)
                    .await;
                match deleted {
                    Err(error) if error.kind == ErrorKind::NotFound => continue,
                    Err(error) => return Err(Failure::of(error, resource, name)),
                    Ok(_) => {}
                }
            }
            gone.push(document.value.clone());
        }
        let list = json!({
            "kind": format!("{}List", resource.kind), "apiVersion": target.api_version(),
            "metadata": {"resourceVersion": listed.revision.to_string()}, "items": gone,
        });
        Ok(respond::json(StatusCode::OK, &list))
    }
}

/// Of the body and of the parameters, whichever says; and whether nothing is to be stored.
fn options(call: &Call) -> Result<(Delete, bool)> {
    let sent = match call.body.is_empty() {
        true => json!({}),
        false => body::document(&call.media_type, &call.body)?,
    };
    let dry = match &sent["dryRun"] {
        Value::Null => false,
        Value::Array(list) if list.is_empty() => false,
        Value::Array(list) if list.iter().all(|one| one == "All") => true,
        other => {
            return Err(Failure::bad_request(format!("dryRun {other}: the only value is All")));
        }
    };
    let grace_s = match (&sent["gracePeriodSeconds"], call.query.number("gracePeriodSeconds")?) {
        (Value::Null, query) => query,
        (sent, _) => Some(sent.as_i64().filter(|number| *number >= 0).ok_or_else(|| {
            Failure::bad_request(format!(
                "gracePeriodSeconds {sent}: expected a number that is not negative"
            ))
        })?),
    };
    let policy = sent["propagationPolicy"].as_str().or(call.query.get("propagationPolicy"));
    let orphans = sent["orphanDependents"] == true || call.query.flag("orphanDependents")?;
    let propagation = match policy {
        None if orphans => Propagation::Orphan,
        None | Some("Background") => Propagation::Background,
        Some("Foreground") => Propagation::Foreground,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            return Err(Failure::bad_request(format!(
                "propagationPolicy {other}: expected Background, Foreground or Orphan"
            )));
        }
    };
    let conditions = &sent["preconditions"];
    let revision = match conditions["resourceVersion"].as_str() {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::bad_request(format!("preconditions.resourceVersion {text}: not a number"))
        })?),
    };
    let uid = conditions["uid"].as_str().map(str::to_owned);
    Ok((Delete { uid, revision, grace_s, propagation }, dry || call.query.is_dry_run()?))
}
