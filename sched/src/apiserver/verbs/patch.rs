//! Changing objects by patches.

use http::{Response, StatusCode};
use serde_json::Value;

use super::super::patch::{self, Patch};
use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, body, convert, respond};
use super::Scope;
use super::manager::refuse_force;
use super::update::Draft;

impl ApiServer {
    pub(in super::super) async fn patch(
        &self,
        target: &Target,
        call: &Call,
        scope: Scope,
    ) -> Result<Response<Body>> {
        if call.media_type == patch::APPLY {
            let config = body::document(&call.media_type, &call.body)?;
            return self.apply(target, call, scope, config).await;
        }
        refuse_force(call)?;
        let patch = Patch::parse(&call.media_type, &call.body)?;
        let make = |before: &Value| {
            // A patch is for the version that the client sees.
            let seen = convert::outgoing(target, before.clone());
            let mut after = patch.apply(&seen)?;
            self.accept_patched(target, call, &seen, &mut after)?;
            Ok(Draft::new(after))
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
            Ok(Draft::new(after))
        };
        self.change(target, Scope::Main, call, make).await
    }
}
