//! Changing objects by patches.

use http::{Response, StatusCode};
use serde_json::Value;

use super::super::patch::Patch;
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, convert, respond};
use super::Scope;

impl ApiServer {
    pub(in super::super) async fn patch(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
    ) -> Result<Response<Body>> {
        let patch = Patch::parse(&call.media_type, &call.body)?;
        if let Some(new) = patch.creates() {
            let found = self.read(target).await;
            match found {
                Err(failure) if failure.code == StatusCode::NOT_FOUND && scope == Scope::Main => {
                    self.authorize_creation(&call.user, target).await?;
                    return self.create_value(target, call, new).await;
                }
                found => drop(found?),
            }
        }
        let make = |before: &Value| {
            // A patch is for the version that the client sees.
            let seen = convert::outgoing(target, before.clone());
            let mut after = patch.apply(&seen)?;
            self.accept_patched(target, call, &seen, &mut after)?;
            Ok(after)
        };
        let document = self.change(target, scope, call, make).await?;
        Ok(respond::object(StatusCode::OK, target, call.accept, &document))
    }

    /// As for a body, but what the object had already is no mistake of this client.
    fn accept_patched(
        &self,
        target: &Target,
        call: &Call,
        seen: &Value,
        after: &mut Value,
    ) -> Result<()> {
        match self.accept_body(target, call, after) {
            Ok(_) => Ok(()),
            Err(failure) => {
                let mut seen = seen.clone();
                if self.accept_body(target, call, &mut seen).is_err() {
                    convert::incoming(target, after);
                    return Ok(());
                }
                Err(failure)
            }
        }
    }
}

/// A whole document in place of the stored one, made by the server itself.
impl ApiServer {
    pub(in super::super) async fn rewrite(
        &self,
        target: &Target,
        call: &Call,
        change: impl Fn(&mut Value) -> std::result::Result<(), Failure>,
    ) -> Result<crate::objects::Document> {
        let make = |before: &Value| {
            let mut after = before.clone();
            change(&mut after)?;
            Ok(after)
        };
        self.change(target, Scope::Main, call, make).await
    }
}
