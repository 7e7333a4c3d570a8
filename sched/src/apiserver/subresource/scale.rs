//! How many replicas there are to be, apart from everything else.

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::super::patch::{self, Patch};
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, body, respond};

impl ApiServer {
    pub(super) async fn scale(
        &self,
        method: &Method,
        target: &Target,
        call: &Call,
    ) -> Result<Response<Body>> {
        let found = self.read(target).await?;
        let scale = scale_of(&found.value);
        let wanted = match *method {
            Method::GET => return Ok(respond::json(StatusCode::OK, &scale)),
            Method::PUT => body::document(&call.media_type, &call.body)?,
            Method::PATCH if call.media_type == patch::APPLY => {
                return self.apply_scale(target, call).await;
            }
            Method::PATCH => Patch::parse(&call.media_type, &call.body)?.apply(&scale)?,
            _ => return Err(Failure::method_not_allowed()),
        };
        let replicas = replicas_of(&wanted)?;
        let revision = wanted["metadata"]["resourceVersion"].clone();
        let change = |value: &mut Value| {
            value["spec"]["replicas"] = replicas.into();
            // Without one the number holds for whatever is stored; a patch carries the one read.
            if *method == Method::PUT && revision.is_string() {
                value["metadata"]["resourceVersion"] = revision.clone();
            }
            Ok(())
        };
        let document = self.rewrite(target, call, change).await?;
        Ok(respond::json(StatusCode::OK, &scale_of(&document.value)))
    }
}

impl ApiServer {
    /// The number, as one who owns it.
    async fn apply_scale(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let wanted = body::document(&call.media_type, &call.body)?;
        let config = json!({"spec": {"replicas": replicas_of(&wanted)?}});
        let document = self.apply_part(target, call, config).await?;
        Ok(respond::json(StatusCode::OK, &scale_of(&document.value)))
    }
}

fn replicas_of(scale: &Value) -> Result<i64> {
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        number => number.as_i64().ok_or_else(|| {
            Failure::bad_request(format!("spec.replicas: {number} is not a number"))
        }),
    }
}

fn scale_of(value: &Value) -> Value {
    let metadata = &value["metadata"];
    let own = &value["spec"]["selector"];
    let labels = if own["matchLabels"].is_object() { &own["matchLabels"] } else { own };
    let pairs = labels.as_object().into_iter().flatten();
    let selector: Vec<String> =
        pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": value["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {
            "replicas": value["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector.join(","),
        },
    })
}
