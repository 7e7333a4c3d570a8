//! Listing objects, page by page if that is asked for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::super::path::Target;
use super::super::respond::{Accept, metadata_of};
use super::super::status::{Failure, Result};
use super::super::table::{self, Include};
use super::super::{ApiServer, Body, Call, convert, respond};
use super::Chosen;
use crate::objects::Document;

/// Keys read at a time.
const PAGE_KEYS: i64 = 1000;

/// What one answer holds.
struct Part {
    items: Vec<Document>,
    revision: i64,
    /// Keys that were passed over because they hold no object.
    unreadable: usize,
    /// Where to go on, and about how many are left.
    next: Option<(Bytes, i64)>,
}

impl ApiServer {
    pub(super) async fn list(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let chosen = Chosen::of(call)?;
        let part = self.part_of_list(target, call, &chosen).await?;
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), part.revision.to_string().into());
        if let Some((next, left)) = &part.next {
            let token = json!({"rv": part.revision, "start": String::from_utf8_lossy(next)});
            metadata.insert("continue".into(), URL_SAFE_NO_PAD.encode(token.to_string()).into());
            // With selectors nobody knows how many of the rest would be chosen.
            if call.query.get("labelSelector").or(call.query.get("fieldSelector")).is_none() {
                metadata.insert("remainingItemCount".into(), (*left).into());
            }
        }
        let unreadable = part.unreadable;
        let items = part.items.into_iter().map(|one| convert::outgoing(target, one.value));
        let items: Vec<Value> = items.collect();
        let metadata = Value::Object(metadata);
        let include = Include::parse(call.query.get("includeObject"))?;
        let value = match call.accept {
            Accept::Table => table::render(target.resource, &items, &metadata, include),
            Accept::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items.iter().map(metadata_of).collect::<Vec<_>>(),
            }),
            Accept::Whole => json!({
                "kind": format!("{}List", target.resource.kind),
                "apiVersion": target.api_version(), "metadata": metadata, "items": items,
            }),
        };
        let mut response = respond::json(StatusCode::OK, &value);
        if unreadable > 0 {
            let text = format!(
                "{unreadable} of the {} cannot be read and are left out: the server's log names \
                 their keys",
                target.resource.plural
            );
            respond::warn(&mut response, &text);
        }
        Ok(response)
    }

    async fn part_of_list(&self, target: &Target, call: &Call, chosen: &Chosen) -> Result<Part> {
        let limit = call.query.number("limit")?.unwrap_or(0);
        let (mut from, revision) = match call.query.get("continue") {
            Some(token) => token_of(token).map(|(from, revision)| (Some(from), revision))?,
            None => (None, exact_revision(call)?),
        };
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut part = Part { items: Vec::new(), revision, unreadable: 0, next: None };
        loop {
            let left = i64::try_from(wanted.saturating_sub(part.items.len())).unwrap_or(i64::MAX);
            let keys = if limit == 0 { PAGE_KEYS } else { left.min(PAGE_KEYS) };
            let page = self
                .objects()
                .page(target.resource, target.namespace(), from, keys, part.revision)
                .await
                .map_err(|error| Failure::of(error, target.resource, ""))?;
            part.revision = page.revision;
            part.unreadable += page.unreadable;
            part.items.extend(page.items.into_iter().filter(|one| chosen.matches(&one.value)));
            match page.next {
                None => return Ok(part),
                Some(next) if limit > 0 && part.items.len() >= wanted => {
                    part.next = Some(next);
                    return Ok(part);
                }
                Some((next, _)) => from = Some(next),
            }
        }
    }
}

/// The revision that must be read, if the client asks for one exactly; otherwise the newest.
fn exact_revision(call: &Call) -> Result<i64> {
    match (call.query.get("resourceVersionMatch"), call.query.number("resourceVersion")?) {
        (Some("Exact"), Some(revision)) if revision > 0 => Ok(revision),
        (Some("Exact"), _) => {
            let message = "resourceVersionMatch=Exact needs a resourceVersion other than 0";
            Err(Failure::bad_request(message))
        }
        _ => Ok(0),
    }
}

fn token_of(token: &str) -> Result<(Bytes, i64)> {
    let parse = || {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let from = value["start"].as_str()?.to_owned();
        let revision = value["rv"].as_i64().filter(|revision| *revision > 0)?;
        Some((Bytes::from(from), revision))
    };
    let (from, revision) = parse()
        .ok_or_else(|| Failure::bad_request("continue key is not valid: begin the list again"))?;
    if !from.starts_with(crate::objects::REGISTRY.as_bytes()) {
        return Err(Failure::bad_request("continue key is not valid: begin the list again"));
    }
    Ok((from, revision))
}
