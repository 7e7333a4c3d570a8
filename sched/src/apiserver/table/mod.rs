//! Objects as rows: the columns that kubectl's users know.
//!
//! Start at [`render`]; `columns.rs` says which columns a kind has, the other files fill them.

mod columns;
mod format;
mod infrastructure;
mod pod;
mod service;
mod workload;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::respond::metadata_of;
use super::status::{Failure, Result};
use crate::objects::clock;
use crate::objects::kinds::Resource;

/// What of the object comes along with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    /// # Errors
    /// The parameter has another value.
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::Nothing),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Failure::bad_request(format!(
                "includeObject={other}: expected None, Metadata or Object"
            ))),
        }
    }
}

/// A `Table` of these objects. `metadata` is the list's.
pub(super) fn render(
    resource: &Resource,
    objects: &[Value],
    metadata: &Value,
    include: Include,
) -> Value {
    let now = clock::now();
    let rows: Vec<Value> =
        objects.iter().map(|object| row(resource, object, include, now)).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions(resource), "rows": rows,
    })
}

fn definitions(resource: &Resource) -> Vec<Value> {
    columns::of(resource.plural)
        .map(|(name, priority)| {
            let format = if name == "Name" { "name" } else { "" };
            json!({
                "name": name, "type": "string", "format": format, "priority": priority,
                "description": "",
            })
        })
        .collect()
}

fn row(resource: &Resource, object: &Value, include: Include, now: Timestamp) -> Value {
    let mut row = json!({"cells": cells(resource.plural, object, now)});
    match include {
        Include::Nothing => {}
        Include::Metadata => row["object"] = metadata_of(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

fn cells(plural: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    match plural {
        "pods" => pod::pod(object, now),
        "services" => service::service(object, now),
        "endpoints" => service::endpoints(object, now),
        "endpointslices" => service::slice(object, now),
        "ingresses" => service::ingress(object, now),
        "deployments" => workload::deployment(object, now),
        "replicasets" | "replicationcontrollers" => workload::replica_set(object, now),
        "daemonsets" => workload::daemon_set(object, now),
        "jobs" => workload::job(object, now),
        "cronjobs" => workload::cron_job(object, now),
        "horizontalpodautoscalers" => workload::autoscaler(object, now),
        _ => infrastructure::cells(plural, object, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::kinds;

    #[test]
    fn every_row_fits_its_columns() {
        // Proves for each kind that an object with nothing but a name has a cell for each column.
        let object = json!({"metadata": {"name": "a", "namespace": "b"}});
        for resource in kinds::ALL {
            let table =
                render(resource, std::slice::from_ref(&object), &json!({}), Include::Metadata);
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            let cells = table["rows"][0]["cells"].as_array().unwrap().len();
            assert_eq!(columns, cells, "{}", resource.plural);
        }
    }
}
