//! Who may do what: Roles and ClusterRoles, and what binds them to users and groups.
//!
//! Only what a rule allows is allowed; nothing is kept, each request reads the rules of the moment.

use http::Method;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::path::{Route, Target};
use super::query::Query;
use super::selector::Fields;
use super::status::{Failure, Result};
use super::{ApiServer, User};
use crate::objects::{self, Error, ErrorKind, kinds};

/// Members may do everything.
const MASTERS: &str = "system:masters";

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) verb: String,
    pub(super) group: String,
    /// With its part: `pods/log`.
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl ApiServer {
    /// # Errors
    /// 403, or the store fails.
    pub(super) async fn authorize(
        &self,
        user: &User,
        method: &Method,
        route: &Route,
        query: &Query,
    ) -> Result<()> {
        // What is served, and what one may do oneself, everybody may know.
        let Route::Object(target) = route else { return Ok(()) };
        let verb = match target.subresource.as_deref() {
            // A WebSocket begins with a GET, whatever is done by it.
            Some("exec") => "create",
            _ => verb(method, target.name.is_some(), query.flag("watch")?),
        };
        let resource = match &target.subresource {
            Some(part) => format!("{}/{part}", target.resource.plural),
            None => target.resource.plural.to_owned(),
        };
        let wish = Wish {
            verb: verb.to_owned(),
            group: target.group.clone(),
            resource,
            namespace: target.namespace.clone(),
            name: named(target, verb, query),
        };
        self.demand(user, target, &wish).await
    }

    async fn demand(&self, user: &User, target: &Target, wish: &Wish) -> Result<()> {
        if self.is_allowed(user, wish).await? {
            return Ok(());
        }
        let place = match &wish.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            user.name, wish.verb, wish.resource, wish.group
        );
        Err(Failure::forbidden(target.resource, target.name(), &why))
    }

    /// For a patch that turns out to make a new object.
    ///
    /// # Errors
    /// 403, or the store fails.
    pub(super) async fn authorize_creation(&self, user: &User, target: &Target) -> Result<()> {
        let wish = Wish {
            verb: "create".to_owned(),
            group: target.group.clone(),
            resource: target.resource.plural.to_owned(),
            namespace: target.namespace.clone(),
            name: String::new(),
        };
        self.demand(user, target, &wish).await
    }

    /// Whether rules decide what a user may do: they may do everything if not.
    pub(super) fn is_bound_by_roles(&self, user: &User) -> bool {
        self.settings().rbac && !user.groups.iter().any(|group| group == MASTERS)
    }

    pub(super) async fn is_allowed(&self, user: &User, wish: &Wish) -> Result<bool> {
        if !self.is_bound_by_roles(user) {
            return Ok(true);
        }
        let rules = self.rules(user, wish.namespace.as_deref()).await?;
        Ok(rules.iter().any(|rule| allows(rule, wish)))
    }

    /// The rules that hold for a user, in a namespace or for the whole cluster.
    pub(super) async fn rules(
        &self,
        user: &User,
        namespace: Option<&str>,
    ) -> Result<Vec<PolicyRule>> {
        let mut rules = Vec::new();
        let bindings = self.objects().list::<ClusterRoleBinding>(None).await.map_err(failed)?;
        for binding in bindings.items {
            if binds(binding.subjects.as_deref(), user) {
                rules.extend(self.rules_of(&binding.role_ref, None).await?.unwrap_or_default());
            }
        }
        if let Some(namespace) = namespace {
            let bindings = self.objects().list::<RoleBinding>(Some(namespace)).await;
            for binding in bindings.map_err(failed)?.items {
                if binds(binding.subjects.as_deref(), user) {
                    let own = self.rules_of(&binding.role_ref, Some(namespace)).await?;
                    rules.extend(own.unwrap_or_default());
                }
            }
        }
        Ok(rules)
    }

    /// What a role allows; `None`: there is none, which allows nothing.
    pub(super) async fn rules_of(
        &self,
        reference: &RoleRef,
        namespace: Option<&str>,
    ) -> Result<Option<Vec<PolicyRule>>> {
        let objects = self.objects();
        let rules = match (&*reference.kind, namespace) {
            ("ClusterRole", _) => {
                let role = objects.get::<ClusterRole>(None, &reference.name).await;
                readable(role)?.map(|role| role.object.rules)
            }
            ("Role", Some(namespace)) => {
                let role = objects.get::<Role>(Some(namespace), &reference.name).await;
                readable(role)?.map(|role| role.object.rules)
            }
            _ => None,
        };
        Ok(rules.map(Option::unwrap_or_default))
    }
}

/// A role that cannot be read allows nothing, and takes nothing from those that can.
fn readable<T>(role: objects::Result<Option<T>>) -> Result<Option<T>> {
    match role {
        Err(error) if error.kind == ErrorKind::Unreadable => Ok(None),
        role => role.map_err(failed),
    }
}

/// The one object that is asked for, by the path or, in a list or a watch, by a selector: nobody else
/// looks at that.
fn named(target: &Target, verb: &str, query: &Query) -> String {
    if let Some(name) = &target.name {
        return name.clone();
    }
    if !matches!(verb, "list" | "watch") {
        return String::new();
    }
    let fields = Fields::parse(query.get("fieldSelector").unwrap_or_default());
    // A selector that is malformed names nothing, and is refused later on.
    fields.ok().and_then(|fields| fields.name().map(str::to_owned)).unwrap_or_default()
}

fn failed(error: Error) -> Failure {
    match kinds::by_plural("clusterroles") {
        Some(resource) => Failure::of(error, resource, ""),
        None => Failure::internal(error.message),
    }
}

fn verb(method: &Method, has_name: bool, is_watch: bool) -> &'static str {
    match (method.as_str(), has_name) {
        ("GET" | "HEAD", false) if is_watch => "watch",
        ("GET" | "HEAD", false) => "list",
        ("GET" | "HEAD", true) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", false) => "deletecollection",
        _ => "delete",
    }
}

fn binds(subjects: Option<&[Subject]>, user: &User) -> bool {
    subjects.unwrap_or_default().iter().any(|subject| match &*subject.kind {
        "User" => subject.name == user.name,
        "Group" => user.groups.contains(&subject.name),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            user.name == format!("system:serviceaccount:{namespace}:{}", subject.name)
        }
        _ => false,
    })
}

/// Whether one rule allows it.
pub(super) fn allows(rule: &PolicyRule, wish: &Wish) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|one| one == "*" || one == wanted)
    };
    let part = wish.resource.split_once('/').map(|(_, part)| format!("*/{part}"));
    let names = rule.resource_names.as_deref().unwrap_or_default();
    rule.verbs.iter().any(|one| *one == "*" || *one == wish.verb)
        && has(&rule.api_groups, &wish.group)
        && (has(&rule.resources, &wish.resource)
            || part.is_some_and(|part| has(&rule.resources, &part)))
        && (names.is_empty() || names.contains(&wish.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn rules_allow_what_they_name() {
        // Proves that verb, group, resource with its part, and name must all be allowed.
        let rule = PolicyRule {
            api_groups: Some(list(&[""])),
            resources: Some(list(&["pods", "pods/log"])),
            resource_names: Some(list(&["web"])),
            verbs: list(&["get", "list"]),
            ..PolicyRule::default()
        };
        let wish = |verb: &str, group: &str, resource: &str, name: &str| Wish {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        assert!(allows(&rule, &wish("get", "", "pods", "web")));
        assert!(allows(&rule, &wish("get", "", "pods/log", "web")));
        for other in [
            wish("delete", "", "pods", "web"),
            wish("get", "apps", "pods", "web"),
            wish("get", "", "secrets", "web"),
            wish("get", "", "pods/exec", "web"),
            wish("get", "", "pods", "db"),
        ] {
            assert!(!allows(&rule, &other), "{other:?}");
        }
        let all = PolicyRule {
            api_groups: Some(list(&["*"])),
            resources: Some(list(&["*"])),
            verbs: list(&["*"]),
            ..PolicyRule::default()
        };
        assert!(allows(&all, &wish("delete", "apps", "deployments/scale", "x")));
    }
}
