//! Evicting a pod: deleting it, if the budgets that cover it allow one more disruption.

use http::{Response, StatusCode};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, body, respond};
use crate::objects::{self, Delete, ErrorKind, Stored};

/// How often a budget that somebody else uses at the same moment is asked again.
const TRIES_MAX: u32 = 4;

impl ApiServer {
    pub(super) async fn evict(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let eviction = body::document(&call.media_type, &call.body)?;
        let pod = self.read(target).await?;
        let options = &eviction["deleteOptions"];
        let dry = call.query.is_dry_run()?
            || options["dryRun"].as_array().is_some_and(|list| !list.is_empty());
        let has_ended =
            matches!(pod.value["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        // What does not run, or is going already, is disrupted by nobody.
        if !has_ended && !pod.value["metadata"]["deletionTimestamp"].is_string() {
            self.spend(target, &pod.value, dry).await?;
        }
        if !dry {
            let delete = Delete {
                uid: pod.value["metadata"]["uid"].as_str().map(str::to_owned),
                grace_s: options["gracePeriodSeconds"].as_i64(),
                ..Delete::default()
            };
            let (resource, name) = (target.resource, target.name());
            let deleted =
                self.objects().delete_document(resource, target.namespace(), name, &delete).await;
            deleted.map_err(|error| Failure::of(error, resource, name))?;
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        });
        Ok(respond::json(StatusCode::CREATED, &status))
    }

    /// Takes one disruption off the budget that covers the pod, if there is one.
    async fn spend(&self, target: &Target, pod: &Value, dry: bool) -> Result<()> {
        let failed = |error| Failure::of(error, target.resource, target.name());
        for _ in 0..TRIES_MAX {
            let listed = self.objects().list::<PodDisruptionBudget>(target.namespace()).await;
            let listed = listed.map_err(failed)?;
            if listed.unreadable > 0 {
                return Err(refused("a disruption budget cannot be read: see the server's log"));
            }
            let mut covering = Vec::new();
            for budget in listed.items {
                if covers(&budget, pod).map_err(failed)? {
                    covering.push(budget);
                }
            }
            let Some(budget) = covering.pop() else { return Ok(()) };
            if !covering.is_empty() {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction \
                               subresource does not support.";
                return Err(Failure::internal(message));
            }
            check(&budget)?;
            if dry {
                return Ok(());
            }
            let spend = |budget: &mut PodDisruptionBudget| {
                let status = budget.status.get_or_insert_default();
                status.disruptions_allowed -= 1;
                let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let now = objects::clock::time();
                status.disrupted_pods.get_or_insert_default().insert(name, now);
            };
            match self.objects().update(&budget, spend).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(failed(error)),
                Ok(_) => return Ok(()),
            }
        }
        Err(refused("the disruption budget keeps changing"))
    }
}

fn covers(budget: &Stored<PodDisruptionBudget>, pod: &Value) -> objects::Result<bool> {
    let document = budget.document()?;
    let selector = &document["spec"]["selector"];
    let labels = &pod["metadata"]["labels"];
    Ok(selector.is_object() && super::super::selector::selects(selector, labels))
}

fn check(budget: &Stored<PodDisruptionBudget>) -> Result<()> {
    let status = budget.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation).unwrap_or(0);
    if seen < budget.metadata.generation.unwrap_or(0) {
        return Err(refused("the disruption budget is still being processed by the server"));
    }
    let allowed = status.map_or(0, |status| status.disruptions_allowed);
    if allowed > 0 {
        return Ok(());
    }
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let (desired, healthy) =
        status.map_or((0, 0), |status| (status.desired_healthy, status.current_healthy));
    Err(refused(&format!(
        "the disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    )))
}

fn refused(why: &str) -> Failure {
    let message =
        format!("Cannot evict pod as it would violate the pod's disruption budget: {why}");
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
}
