//! What can be done with each kind.

use serde_json::{Value, json};

use crate::objects::kinds;

/// What those operations that change something take.
pub(super) const PARAMETERS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Patch,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Patch => "patch",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) id: String,
    group: &'static str,
    version: &'static str,
    name: &'static str,
}

impl Operation {
    /// The kind of objects it is about.
    pub(super) fn kind(&self) -> Value {
        json!({"group": self.group, "version": self.version, "kind": self.name})
    }
}

/// The operations on all kinds that are served in a group and version.
pub(super) fn of(group: &'static str, version: &'static str) -> Vec<Operation> {
    let served = kinds::ALL.iter().filter(|resource| resource.is_in(group, version));
    let operations = served.flat_map(|resource| {
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let all = format!("/{}{scope}/{}", super::path(group, version), resource.plural);
        let one = format!("{all}/{{name}}");
        [
            (Method::Post, &all, "create"),
            (Method::Get, &one, "read"),
            (Method::Put, &one, "replace"),
            (Method::Patch, &one, "patch"),
        ]
        .map(|(method, path, verb)| Operation {
            path: path.clone(),
            method,
            id: format!("{verb}{}", resource.kind),
            group,
            version,
            name: resource.kind,
        })
    });
    operations.collect()
}
