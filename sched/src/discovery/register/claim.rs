//! The transaction that writes an instance's keys, and what its answer means.
//!
//! Whoever registers first may take a name over: it is the newer one. Whoever was registered and
//! comes back must not, for somebody else may have been started in its place.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{RangeRequest, RequestOp, TxnRequest, TxnResponse};
use api::mvccpb::KeyValue;

use super::Registration;
use crate::discovery::layout::Health;
use crate::kv::{Error, Kind, Result, is_absent, leased_by, put};

/// All keys and values, under `lease`, at one revision. With `held`, the lease that the instance
/// was registered under before: only if nobody else has the name by now, and what is there under
/// `lease` already is not written again: it does not change, and whoever follows it would be woken.
pub(super) fn write(
    registration: &Registration,
    lease: i64,
    held: Option<i64>,
    health: &Health,
) -> Result<TxnRequest> {
    let key = registration.name.instance_key();
    let mut puts = vec![put(key.clone(), json(&registration.instance)?, lease)];
    let mut vouch = Vec::new();
    if registration.has_health() {
        vouch.push(put(registration.name.health_key(), json(health)?, lease));
    }
    puts.extend(vouch.iter().cloned());
    let Some(held) = held else {
        return Ok(TxnRequest { success: puts, ..TxnRequest::default() });
    };
    let get = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
    let get = RequestOp { request: Some(Request::RequestRange(get)) };
    let mut request = TxnRequest { success: vec![get], ..TxnRequest::default() };
    // One of these must hold. Under the lease itself it is when an earlier answer was lost.
    let ways = [
        (is_absent(key.clone()), puts.clone()),
        (leased_by(key.clone(), held), puts),
        (leased_by(key, lease), vouch),
    ];
    for (free, success) in ways {
        let otherwise = RequestOp { request: Some(Request::RequestTxn(request)) };
        request = TxnRequest { compare: vec![free], success, failure: vec![otherwise] };
    }
    Ok(request)
}

/// The revision at which the keys were written.
///
/// # Errors
/// They were not: somebody else has the name.
pub(super) fn written(answer: &TxnResponse) -> Result<i64> {
    match holder(answer) {
        Some(kv) => Err(taken_over(kv)),
        None => Ok(answer.header.as_ref().map_or(0, |header| header.revision)),
    }
}

/// What the innermost transaction found instead of writing.
fn holder(answer: &TxnResponse) -> Option<&KeyValue> {
    match answer.responses.first()?.response.as_ref()? {
        Response::ResponseTxn(inner) => holder(inner),
        Response::ResponseRange(found) => found.kvs.first(),
        _ => None,
    }
}

pub(super) fn taken_over(kv: &KeyValue) -> Error {
    Error::new(
        Kind::Refused,
        format!(
            "{} was taken over under another lease ({:x}): two instances have the same name; give \
             each its own with --instance",
            String::from_utf8_lossy(&kv.key),
            kv.lease
        ),
    )
}

fn json(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|error| Error::new(Kind::Refused, error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use api::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};

    use super::*;
    use crate::discovery::layout::{HealthBy, Instance, Name, Status};

    fn request(held: Option<i64>) -> TxnRequest {
        let instance = Instance {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 80,
            tags: Vec::new(),
            metadata: Default::default(),
            weight: 1,
            health: HealthBy::Key,
            registered_at: None,
        };
        let name = Name::new("web", "1").unwrap();
        let health = Health { status: Status::Passing, output: String::new() };
        write(&Registration { name, instance, ttl_s: 10 }, 8, held, &health).unwrap()
    }

    #[test]
    fn only_the_first_registration_takes_over() {
        // Proves that the first write asks for nothing, and that each way of a later one asks for
        // something before it writes both keys, or the one that changes if the other is there.
        let first = request(None);
        assert_eq!((first.compare.len(), first.success.len()), (0, 2));
        let mut conditions = Vec::new();
        let mut later = request(Some(7));
        while let Some(Request::RequestTxn(inner)) =
            later.failure.first().and_then(|otherwise| otherwise.request.clone())
        {
            let written = if conditions.is_empty() { &first.success[1..] } else { &first.success };
            assert_eq!(later.success, written);
            conditions.extend(later.compare);
            later = inner;
        }
        let key = "/services/web/1";
        assert_eq!(conditions, [leased_by(key, 8), leased_by(key, 7), is_absent(key)]);
        assert!(later.compare.is_empty() && later.failure.is_empty());
        assert!(matches!(later.success[0].request, Some(Request::RequestRange(_))));
    }

    #[test]
    fn the_answer_names_the_holder() {
        // Proves that a key that was found, however deep, is told as a take-over, and that all else
        // is a write at the revision of the whole.
        let header = Some(ResponseHeader { revision: 5, ..ResponseHeader::default() });
        let within = |response| TxnResponse {
            header,
            responses: vec![ResponseOp { response: Some(response) }],
            ..TxnResponse::default()
        };
        let kv = KeyValue { key: "/services/web/1".into(), lease: 0xabc, ..KeyValue::default() };
        let found = RangeResponse { kvs: vec![kv], ..RangeResponse::default() };
        let found = within(Response::ResponseRange(found));
        let error = written(&within(Response::ResponseTxn(found))).unwrap_err();
        assert!(error.message.contains("/services/web/1") && error.message.contains("abc"));
        let put = within(Response::ResponsePut(Default::default()));
        assert_eq!(written(&within(Response::ResponseTxn(put))), Ok(5));
    }
}
