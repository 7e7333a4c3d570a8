//! Replacing objects.

use http::{Response, StatusCode};
use serde_json::Value;

use super::super::fields::{self, Applied, Operation, Owners};
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, admit, body, discovery, respond, validate};
use super::manager::writer;
use super::{Scope, TRIES_MAX, keep_server_fields};
use crate::objects::{Beside, Document, Error, ErrorKind, defaults};

impl ApiServer {
    pub(in super::super) async fn update(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
    ) -> Result<Response<Body>> {
        let mut value = body::document(&call.media_type, &call.body)?;
        let mut warnings = self.accept_body(target, call, &mut value)?;
        let document = self.change(target, scope, call, |_| Ok(Draft::new(value.clone()))).await?;
        let mut response = respond::object(StatusCode::OK, target, call.accept, &document);
        warnings.drain(..).for_each(|text| respond::warn(&mut response, &text));
        Ok(response)
    }

    /// Puts what `make` makes of the stored object in its place. If that names the revision it is
    /// made for, only there; if not, as often as somebody else is faster.
    pub(in super::super) async fn change(
        &self,
        target: &Target,
        scope: Scope,
        call: &Call,
        make: impl Fn(&Value) -> Result<Draft>,
    ) -> Result<Document> {
        let (resource, name) = (target.resource, target.name());
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let before = self.read(target).await?;
            let Draft { value, owners } = make(&before.value)?;
            check_revision(target, &before, &value)?;
            let sent = Sent::of(&value);
            let mut after = settled(target, scope, &before, value);
            let owners = match owners {
                Some(owners) => owners,
                None => {
                    let writer = writer(target, call, scope, Operation::Update)?;
                    let owners = sent.or_those_of(&before.value, target);
                    fields::update(Some(&before.value), &after, owners, &writer)
                }
            };
            owners.write(&before.value, &mut after);
            if after == before.value {
                return Ok(before);
            }
            match self.put(target, scope, &before, after, call).await {
                Err(Stop::Store(error)) if error.kind == ErrorKind::Conflict => last = Some(error),
                Err(Stop::Store(error)) => return Err(Failure::of(error, resource, name)),
                Err(Stop::Failure(failure)) => return Err(failure),
                Ok(document) => return Ok(document),
            }
        }
        let error = last.unwrap_or_else(|| Error::new(ErrorKind::Conflict, "too many tries"));
        Err(Failure::of(error, resource, name))
    }

    async fn put(
        &self,
        target: &Target,
        scope: Scope,
        before: &Document,
        mut after: Value,
        call: &Call,
    ) -> std::result::Result<Document, Stop> {
        let resource = target.resource;
        let mut beside = Beside::default();
        if resource.plural == "services" && scope == Scope::Main {
            self.claim_addresses(&mut after, Some(&before.value), &mut beside).await?;
        }
        if scope == Scope::Main {
            admit::check(self.objects(), resource, &mut after).await?;
        }
        validate::check_change(resource, &before.value, &after)?;
        self.check_grant(&call.user, target, Some(&before.value), &after).await?;
        let document = Document { value: after, revision: before.revision };
        if call.query.is_dry_run()? {
            return Ok(document);
        }
        let stored = self.objects().update_beside(resource, &before.value, document, &beside).await;
        stored.map_err(Stop::Store)
    }
}

/// What is to take the place of the stored object.
pub(in super::super) struct Draft {
    value: Value,
    /// `None`: whoever writes it owns what is different.
    owners: Option<Owners>,
}

impl Draft {
    pub(in super::super) fn new(value: Value) -> Self {
        Self { value, owners: None }
    }

    pub(super) fn applied(applied: Applied) -> Self {
        Self { value: applied.value, owners: Some(applied.owners) }
    }
}

/// What a client says of the owners itself.
enum Sent {
    /// Nothing, or nothing that can be read: few who write know of owners.
    Nothing,
    Forget,
    Owners(Owners),
}

impl Sent {
    fn of(value: &Value) -> Self {
        if Owners::is_reset(value) {
            return Self::Forget;
        }
        Owners::of(value).map_or(Self::Nothing, Self::Owners)
    }

    /// A part of an object does not say who owns the whole.
    fn or_those_of(self, before: &Value, target: &Target) -> Owners {
        match self {
            Self::Forget if target.subresource.is_none() => Owners::default(),
            Self::Owners(owners) if target.subresource.is_none() => owners,
            _ => Owners::of(before).unwrap_or_default(),
        }
    }
}

/// Why a try ended.
enum Stop {
    Store(Error),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The client's revision, if it says one, must be the stored one.
fn check_revision(target: &Target, before: &Document, after: &Value) -> Result<()> {
    let sent = after["metadata"]["resourceVersion"].as_str().filter(|text| !text.is_empty());
    let Some(sent) = sent else { return Ok(()) };
    if sent.parse() == Ok(before.revision) {
        return Ok(());
    }
    let why = "the object has been modified; please apply your changes to the latest version and \
               try again";
    Err(Failure::conflict(target.resource, target.name(), why))
}

/// What would be stored: the part that is written, with defaults, and what only the server writes.
fn settled(target: &Target, scope: Scope, before: &Document, after: Value) -> Value {
    let resource = target.resource;
    let mut after = scope.confine(&before.value, after, discovery::has_status(resource));
    keep_server_fields(&before.value, &mut after);
    after["metadata"]["resourceVersion"] = before.revision.to_string().into();
    after["apiVersion"] = resource.api_version().into();
    after["kind"] = resource.kind.into();
    if scope == Scope::Main {
        admit::carry_over(resource, &before.value, &mut after);
        defaults::apply(resource, &mut after);
    }
    after
}
