//! That nobody hands out rights that they do not have.
//!
//! Who writes a role must hold all that it allows, or be allowed to `escalate` that role; who binds
//! one must hold all that it allows, or be allowed to `bind` it. Rules are held where the role is
//! to hold: in its namespace, or everywhere.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::Target;
use super::rbac::{Wish, allows};
use super::status::{Failure, Result};
use super::{ApiServer, User};

const GROUP: &str = "rbac.authorization.k8s.io";
/// Single rights (verb, group, resource, name) of one role that are looked at.
const RIGHTS_MAX: usize = 20_000;

impl ApiServer {
    /// Checks a role or a binding on its way in; anything else may be stored. `before`: what is
    /// stored now.
    ///
    /// # Errors
    /// 403 with the first right that the user does not hold; the store fails.
    pub(super) async fn check_grant(
        &self,
        user: &User,
        target: &Target,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<()> {
        if !self.is_bound_by_roles(user) {
            return Ok(());
        }
        // What grants nothing new may be labelled by whoever may write it.
        let is_same = |fields: &[&str]| {
            before.is_some_and(|before| fields.iter().all(|field| before[*field] == after[*field]))
        };
        match target.resource.plural {
            "roles" | "clusterroles" if !is_same(&["rules", "aggregationRule"]) => {
                self.check_role(user, target, after).await
            }
            "rolebindings" | "clusterrolebindings" if !is_same(&["roleRef", "subjects"]) => {
                self.check_binding(user, target, after).await
            }
            _ => Ok(()),
        }
    }

    async fn check_role(&self, user: &User, target: &Target, role: &Value) -> Result<()> {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let kind = target.resource.plural;
        if self.may(user, "escalate", kind, target.namespace(), name).await? {
            return Ok(());
        }
        let rules = Vec::<PolicyRule>::deserialize(&role["rules"]).unwrap_or_default();
        if !role["aggregationRule"].is_null() {
            let why = "only who may `escalate` it may write a role that gathers others";
            return Err(Failure::forbidden(target.resource, name, why));
        }
        self.check_held(user, target, name, &rules).await
    }

    async fn check_binding(&self, user: &User, target: &Target, binding: &Value) -> Result<()> {
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let Ok(role) = RoleRef::deserialize(&binding["roleRef"]) else {
            return Err(Failure::bad_request("roleRef: expected apiGroup, kind and name"));
        };
        let (kind, namespace) = match &*role.kind {
            "Role" => ("roles", target.namespace()),
            _ => ("clusterroles", target.namespace()),
        };
        if self.may(user, "bind", kind, namespace, &role.name).await? {
            return Ok(());
        }
        match self.rules_of(&role, namespace).await? {
            Some(rules) => self.check_held(user, target, name, &rules).await,
            // Whatever it will allow once it is there.
            None => {
                let why = format!("there is no {} \"{}\" to bind", role.kind, role.name);
                Err(Failure::forbidden(target.resource, name, &why))
            }
        }
    }

    async fn may(
        &self,
        user: &User,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<bool> {
        let wish = Wish {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        self.is_allowed(user, &wish).await
    }

    async fn check_held(
        &self,
        user: &User,
        target: &Target,
        name: &str,
        wanted: &[PolicyRule],
    ) -> Result<()> {
        let held = self.rules(user, target.namespace()).await?;
        let forbidden = |why: &str| Failure::forbidden(target.resource, name, why);
        match missing(&held, wanted) {
            Ok(None) => Ok(()),
            Ok(Some(wish)) => {
                let right = json!({
                    "apiGroups": [wish.group], "resources": [wish.resource], "verbs": [wish.verb],
                    "resourceNames": if wish.name.is_empty() { json!([]) } else { json!([wish.name]) },
                });
                let who = &user.name;
                Err(forbidden(&format!(
                    "user \"{who}\" is attempting to grant RBAC permissions not currently held: \
                     {right}"
                )))
            }
            Err(count) => Err(forbidden(&format!(
                "it names {count} single rights, and no more than {RIGHTS_MAX} are compared with \
                 those of the user: divide it, or have it written by who may `escalate`"
            ))),
        }
    }
}

/// The first right of `wanted` that is not among those held. `Err`: there are too many.
fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> std::result::Result<Option<Wish>, usize> {
    let len = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    let count = wanted.iter().fold(0_usize, |count, rule| {
        [len(&rule.api_groups), len(&rule.resources), len(&rule.resource_names).max(1)]
            .into_iter()
            .fold(rule.verbs.len(), usize::saturating_mul)
            .saturating_add(count)
    });
    if count > RIGHTS_MAX {
        return Err(count);
    }
    let mut rights = wanted.iter().flat_map(rights);
    Ok(rights.find(|right| !held.iter().any(|rule| allows(rule, right))))
}

/// A rule, right by right. Paths that are no resources are open to everybody here: a rule that
/// allows them grants nothing. A `*` is held by who holds a `*`.
fn rights(rule: &PolicyRule) -> Vec<Wish> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mut names = list(&rule.resource_names);
    if names.is_empty() {
        // Any name: what a rule allows that names none.
        names.push(String::new());
    }
    let (groups, resources) = (list(&rule.api_groups), list(&rule.resources));
    let mut rights = Vec::new();
    for verb in &rule.verbs {
        for group in &groups {
            for resource in &resources {
                rights.extend(names.iter().map(|name| Wish {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: None,
                    name: name.clone(),
                }));
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        let list = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        PolicyRule {
            verbs: list(verbs),
            api_groups: Some(list(groups)),
            resources: Some(list(resources)),
            resource_names: Some(list(names)),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn only_what_is_held_is_handed_on() {
        // Proves that each single right must be held, by whichever rules, and that neither a part
        // of a resource nor one name of many stands for the whole.
        let held = [
            rule(&["get", "list"], &[""], &["pods"], &[]),
            rule(&["watch"], &[""], &["pods", "pods/log"], &[]),
            rule(&["update"], &["apps"], &["deployments"], &["web", "db"]),
        ];
        let lacks = |wanted: PolicyRule| missing(&held, &[wanted]).unwrap().is_some();
        assert!(!lacks(rule(&["get", "watch"], &[""], &["pods"], &[])));
        assert!(!lacks(rule(&["get"], &[""], &["pods"], &["one"])));
        assert!(!lacks(rule(&["update"], &["apps"], &["deployments"], &["db"])));
        for more in [
            rule(&["delete"], &[""], &["pods"], &[]),
            rule(&["*"], &[""], &["pods"], &[]),
            rule(&["get"], &["*"], &["pods"], &[]),
            rule(&["get"], &[""], &["*"], &[]),
            rule(&["get"], &[""], &["pods/log"], &[]),
            rule(&["update"], &["apps"], &["deployments"], &[]),
            rule(&["update"], &["apps"], &["deployments"], &["web", "other"]),
        ] {
            assert!(lacks(more.clone()), "{more:?}");
        }
    }

    #[test]
    fn a_role_of_too_many_rights_is_not_unfolded() {
        // Proves the bound, which is counted without making the rights.
        let many: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wanted = rule(&many, &many, &many, &many);
        assert_eq!(missing(&[], &[wanted]), Err(5000_usize.pow(4)));
    }
}
