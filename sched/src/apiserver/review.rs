//! Questions about oneself that are put by creating an object: `kubectl auth can-i`, `whoami`.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::rbac::Wish;
use super::status::{Failure, Result};
use super::{ApiServer, Body, User, respond};

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

const SERVED: [(&str, &str, &str); 3] = [
    (AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    (AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    (AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview"),
];

/// Plural and kind of the questions of a group.
pub(super) fn served(group: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_group = SERVED.iter().filter(move |(of, _, _)| *of == group);
    of_group.map(|(_, plural, kind)| (*plural, *kind))
}

pub(super) fn is_served(group: &str, plural: &str) -> bool {
    served(group).any(|(own, _)| own == plural)
}

impl ApiServer {
    pub(super) async fn review(
        &self,
        user: &User,
        group: &str,
        plural: &str,
        mut question: Value,
    ) -> Result<Response<Body>> {
        let status = match plural {
            "selfsubjectaccessreviews" => self.review_access(user, &question["spec"]).await?,
            "selfsubjectrulesreviews" => {
                let namespace = question["spec"]["namespace"].as_str().map(str::to_owned);
                self.review_rules(user, namespace.as_deref()).await?
            }
            "selfsubjectreviews" => {
                json!({"userInfo": {"username": user.name, "groups": user.groups}})
            }
            _ => return Err(Failure::unknown_path()),
        };
        let kind = served(group).find(|(own, _)| *own == plural).map_or("", |(_, kind)| kind);
        let Some(object) = question.as_object_mut() else {
            return Err(Failure::bad_request("expected an object"));
        };
        object.insert("apiVersion".into(), format!("{group}/v1").into());
        object.insert("kind".into(), kind.into());
        object.insert("status".into(), status);
        Ok(respond::json(StatusCode::CREATED, &question))
    }

    async fn review_access(&self, user: &User, spec: &Value) -> Result<Value> {
        let attributes = &spec["resourceAttributes"];
        if !attributes.is_object() {
            // Paths that are no resources say only what is served.
            return Ok(json!({"allowed": true}));
        }
        let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
        let resource = match attributes["subresource"].as_str().filter(|part| !part.is_empty()) {
            Some(part) => format!("{}/{part}", text("resource")),
            None => text("resource"),
        };
        let namespace = attributes["namespace"].as_str().filter(|text| !text.is_empty());
        let wish = Wish {
            verb: text("verb"),
            group: text("group"),
            resource,
            namespace: namespace.map(str::to_owned),
            name: text("name"),
        };
        let allowed = self.is_allowed(user, &wish).await?;
        let reason = if self.settings().rbac { "" } else { "roles are not enforced" };
        Ok(json!({"allowed": allowed, "reason": reason}))
    }

    async fn review_rules(&self, user: &User, namespace: Option<&str>) -> Result<Value> {
        let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let anything = Wish {
            verb: "*".into(),
            group: "*".into(),
            resource: "*".into(),
            namespace: namespace.map(str::to_owned),
            name: String::new(),
        };
        let rules = if self.is_allowed(user, &anything).await? {
            everything
        } else {
            let rules = self.rules(user, namespace).await?;
            serde_json::to_value(rules).map_err(|error| Failure::internal(error.to_string()))?
        };
        Ok(json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false}))
    }
}
