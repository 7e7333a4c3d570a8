//! What a path of the API names.

use percent_encoding::percent_decode_str;

use super::status::{Failure, Result};
use crate::objects::kinds::{self, Resource};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    Version,
    Health,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1` and `/apis/GROUP/VERSION`
    Resources {
        group: String,
        version: String,
    },
    /// `/openapi/v3` (empty) and what is below it.
    OpenApi(String),
    /// `/openapi/v2`, which kubectl before 1.27 reads.
    OldOpenApi,
    /// A question that is created to be answered, and never stored.
    Review {
        group: String,
        kind: String,
    },
    Object(Target),
}

/// Objects, or one, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// As asked for; the object may be stored in another one.
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    pub(super) fn api_version(&self) -> String {
        kinds::api_version(&self.group, &self.version)
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

/// # Errors
/// The path names nothing that is served.
pub(super) fn parse(path: &str) -> Result<Route> {
    let decoded: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Failure::bad_request("the path is not UTF-8"))?;
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let route = match parts.as_slice() {
        ["version"] => Route::Version,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["openapi", "v2"] => Route::OldOpenApi,
        ["openapi", "v3", rest @ ..] => Route::OpenApi(rest.join("/")),
        ["api", version, rest @ ..] => below("", version, rest)?,
        ["apis", group, version, rest @ ..] => below(group, version, rest)?,
        _ => return Err(Failure::unknown_path()),
    };
    Ok(route)
}

fn below(group: &str, version: &str, parts: &[&str]) -> Result<Route> {
    if parts.is_empty() {
        return Ok(Route::Resources { group: group.to_owned(), version: version.to_owned() });
    }
    if let [kind] = parts
        && super::review::is_served(group, kind)
    {
        return Ok(Route::Review { group: group.to_owned(), kind: (*kind).to_owned() });
    }
    let find =
        |plural: &str| kinds::by_plural(plural).filter(|resource| resource.is_in(group, version));
    let (resource, namespace, rest) = match parts {
        ["namespaces", namespace, plural, rest @ ..] if find(plural).is_some() => {
            (find(plural), Some(*namespace), rest)
        }
        [plural, rest @ ..] => (find(plural), None, rest),
        [] => (None, None, parts),
    };
    let resource = resource.ok_or_else(Failure::unknown_path)?;
    if namespace.is_some() && !resource.namespaced {
        return Err(Failure::unknown_path());
    }
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, subresource] => (Some(*name), Some(*subresource)),
        _ => return Err(Failure::unknown_path()),
    };
    if name.is_some() && resource.namespaced && namespace.is_none() {
        return Err(Failure::unknown_path());
    }
    Ok(Route::Object(Target {
        resource,
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_objects() {
        // Proves which object a path means, namespaces themselves and their parts among them.
        let target = |path: &str| match parse(path) {
            Ok(Route::Object(target)) => Some((
                target.resource.plural,
                target.namespace.unwrap_or_default(),
                target.name.unwrap_or_default(),
                target.subresource.unwrap_or_default(),
            )),
            _ => None,
        };
        let named = |plural, namespace: &str, name: &str, part: &str| {
            Some((plural, namespace.to_owned(), name.to_owned(), part.to_owned()))
        };
        for (path, expected) in [
            ("/api/v1/pods", named("pods", "", "", "")),
            ("/api/v1/namespaces/a/pods/b/log", named("pods", "a", "b", "log")),
            ("/api/v1/namespaces/a", named("namespaces", "", "a", "")),
            ("/api/v1/namespaces/a/finalize", named("namespaces", "", "a", "finalize")),
            ("/apis/apps/v1/namespaces/a/deployments/b", named("deployments", "a", "b", "")),
            (
                "/apis/extensions/v1beta1/namespaces/a/deployments",
                named("deployments", "a", "", ""),
            ),
            ("/apis/extensions/v1beta1/daemonsets", None),
            ("/api/v1/pods/b", None),
            ("/api/v1/namespaces/a/nodes", None),
            ("/apis/apps/v2/deployments", None),
        ] {
            assert_eq!(target(path), expected, "{path}");
        }
    }
}
