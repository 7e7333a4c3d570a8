//! Applying: saying what is to be so, and leaving the rest to others.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::fields::{self, FieldSet, Operation, Owners, Takes, Writer};
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, convert, respond};
use super::Scope;
use super::manager::writer;
use super::update::Draft;
use crate::objects::{Document, defaults};

/// What `kubectl apply` without `--server-side` applied last, as it notes itself.
const LAST_APPLIED: &str =
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
/// Who may go on from there: kubectl itself.
const KUBECTL: &str = "kubectl";

/// What somebody applies.
struct Config {
    /// In the version that is stored, and without what cannot be written this way.
    value: Value,
    /// As it came, to be noted.
    sent: Value,
    writer: Writer,
    force: bool,
    warnings: Vec<String>,
}

impl ApiServer {
    pub(super) async fn apply(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
        config: Value,
    ) -> Result<Response<Body>> {
        let config = self.accept_config(target, call, scope, config)?;
        match self.read(target).await {
            Err(failure) if failure.code == StatusCode::NOT_FOUND && scope == Scope::Main => {
                self.authorize_creation(&call.user, target).await?;
                let owners = config.applied_to(target, &json!({}))?.owners;
                let created = self.create_value(target, call, config.sent.clone(), Some(owners));
                match created.await {
                    // Somebody else was faster: it is there now.
                    Err(failure) if failure.is_already_there() => {}
                    outcome => return outcome,
                }
            }
            found => drop(found?),
        }
        let document = self.apply_config(target, call, scope, &config).await?;
        let mut response = respond::object(StatusCode::OK, target, call.accept, &document);
        config.warnings.iter().for_each(|text| respond::warn(&mut response, text));
        Ok(response)
    }

    /// Applies to an object that is there.
    pub(in super::super) async fn apply_part(
        &self,
        target: &Target,
        call: &Call,
        config: Value,
    ) -> Result<Document> {
        let config = self.accept_config(target, call, Scope::Main, config)?;
        self.apply_config(target, call, Scope::Main, &config).await
    }

    async fn apply_config(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
        config: &Config,
    ) -> Result<Document> {
        let make = |live: &Value| {
            let mut applied = config.applied_to(target, live)?;
            config.note(&mut applied.value);
            Ok(Draft::applied(applied))
        };
        self.change(target, scope, call, make).await
    }

    fn accept_config(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
        config: Value,
    ) -> Result<Config> {
        let writer = writer(target, call, scope, Operation::Apply)?;
        if !config["metadata"]["managedFields"].is_null() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        let (mut value, sent) = (config.clone(), config);
        let warnings = self.accept_body(target, call, &mut value)?;
        prepare(target, &mut value);
        fields::check(&value).map_err(|reason| {
            let kind = target.resource.kind;
            Failure::bad_request(format!("failed to create typed patch object ({kind}): {reason}"))
        })?;
        if let (Some(apart), Some(object)) = (writer.apart, value.as_object_mut()) {
            object.shift_remove(apart);
        }
        let force = call.query.flag("force")?;
        Ok(Config { value, sent, writer, force, warnings })
    }
}

/// Brings what is applied into the form that is stored.
fn prepare(target: &Target, value: &mut Value) {
    if target.resource.plural == "secrets"
        && let Some(object) = value.as_object_mut()
    {
        defaults::keep_as_data(object);
    }
}

impl Config {
    fn applied_to(&self, target: &Target, live: &Value) -> Result<fields::Applied> {
        let takes = match self.force {
            true => Takes::Everything,
            false => Takes::These(self.own_before(target, live)),
        };
        let owners = Owners::of(live).unwrap_or_default();
        fields::apply(live, &self.value, owners, &self.writer, &takes)
            .map_err(|conflicts| Failure::apply_conflict(&conflicts))
    }

    fn is_of_kubectl(&self) -> bool {
        self.writer.manager == KUBECTL && self.writer.subresource.is_empty()
    }

    /// What kubectl applied without the server's help is its own, as far as it is still so.
    fn own_before(&self, target: &Target, live: &Value) -> FieldSet {
        let noted = live.pointer(LAST_APPLIED).and_then(Value::as_str);
        let noted = noted.filter(|_| self.is_of_kubectl());
        let Some(mut last) = noted.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
            return FieldSet::default();
        };
        // It may be of another version than the one that is applied now: then it does not count.
        if last["apiVersion"] != self.sent["apiVersion"] {
            return FieldSet::default();
        }
        convert::incoming(target, &mut last);
        prepare(target, &mut last);
        fields::same(&last, live)
    }

    /// Keeps kubectl's own note up to date where there is one.
    fn note(&self, value: &mut Value) {
        if !self.is_of_kubectl() {
            return;
        }
        let Some(note) = value.pointer_mut(LAST_APPLIED).filter(|note| note.is_string()) else {
            return;
        };
        let mut sent = self.sent.clone();
        let annotations = sent.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        *note = format!("{sent}\n").into();
    }
}
