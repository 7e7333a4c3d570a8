//! Large answers, translated while their client takes them.
//!
//! The fields of a message stand one after the other, each a message of its own; so do the members
//! of a JSON object. Hence a piece of one becomes a piece of the other, as long as the elements of a
//! list stand together, as they do in all that berth encodes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use prost_reflect::MessageDescriptor;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::answer::{AT_ONCE_BYTES_MAX, WHOLE_BYTES_MAX};
use super::call::Fields;
use super::json;
use super::table::Method;

/// How long a client may take for one piece.
const STALL_MAX: Duration = Duration::from_secs(60);
/// And for all of an answer that is in memory as a whole meanwhile.
const HELD_MAX: Duration = Duration::from_secs(600);
/// Pieces that are made before the client takes them; one more is in the making.
const AHEAD: usize = 1;

/// `None` is the end; without it the answer is not whole.
type Piece = Result<Option<Bytes>, std::io::Error>;

/// The object that the message in `fields` stands for. An answer that cannot be finished breaks
/// off, so that nobody takes it for whole.
pub(super) fn body(method: Arc<Method>, fields: Fields) -> Body {
    let (tx, rx) = mpsc::channel(AHEAD);
    tokio::spawn(pump(method, fields, tx));
    Body::from_stream(stream::unfold(Some(rx), async |rx| {
        let mut rx: mpsc::Receiver<Piece> = rx?;
        match rx.recv().await {
            Some(Ok(Some(text))) => Some((Ok(text), Some(rx))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(std::io::Error::other("the client took too long")), None)),
        }
    }))
}

async fn pump(method: Arc<Method>, fields: Fields, tx: mpsc::Sender<Piece>) {
    let held = tokio::select! {
        held = fields.hold(WHOLE_BYTES_MAX) => held,
        () = tx.closed() => return,
        // Others hold it all: better to break off than to wait with the answer in memory.
        () = sleep(STALL_MAX) => return,
    };
    let sending = send_all(&method, fields, &tx);
    // Whoever stalls is cut off: what it was sent ends without an end.
    let ended = match held {
        Some(_) => timeout(HELD_MAX, sending).await,
        None => Ok(sending.await),
    };
    if let Ok(Err(Some(status))) = ended {
        let broken = std::io::Error::other(status.message().to_owned());
        // Who has gone is not told anything.
        let _ = tx.send_timeout(Err(broken), STALL_MAX).await;
    }
}

/// # Errors
/// Why it could not be finished; `None`: the client took too long, or has gone.
async fn send_all(
    method: &Arc<Method>,
    mut fields: Fields,
    tx: &mpsc::Sender<Piece>,
) -> Result<(), Option<Status>> {
    let mut object = Object::new(method.output.clone());
    loop {
        let (batch, is_last) = gather(&mut fields).await.map_err(Some)?;
        let (text, grown) = translate(object, batch, is_last).await.map_err(Some)?;
        object = grown;
        tx.send_timeout(Ok(Some(text)), STALL_MAX).await.map_err(|_| None)?;
        if is_last {
            return tx.send_timeout(Ok(None), STALL_MAX).await.map_err(|_| None);
        }
    }
}

/// Some fields; and whether they are the last.
async fn gather(fields: &mut Fields) -> Result<(Vec<Bytes>, bool), Status> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < AT_ONCE_BYTES_MAX {
        let Some(field) = fields.next().await? else { return Ok((batch, true)) };
        bytes += field.len();
        batch.push(field);
    }
    Ok((batch, false))
}

async fn translate(
    mut object: Object,
    batch: Vec<Bytes>,
    is_last: bool,
) -> Result<(Bytes, Object), Status> {
    let bytes: usize = batch.iter().map(Bytes::len).sum();
    let write = move || -> Result<(Bytes, Object), String> {
        let mut text = Vec::new();
        for field in batch {
            object.put(field, &mut text)?;
        }
        if is_last {
            object.end(&mut text);
        }
        Ok((Bytes::from(text), object))
    };
    let written = if bytes <= 2 * AT_ONCE_BYTES_MAX {
        write()
    } else {
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|_| Status::internal("a task of the server ended before its time"))?
    };
    written.map_err(|error: String| Status::internal(error))
}

/// A JSON object that grows by a field at a time.
struct Object {
    message: MessageDescriptor,
    /// Something is in it.
    begun: bool,
    /// The list that stands last in it and is open: its beginning.
    list: Option<Vec<u8>>,
}

impl Object {
    fn new(message: MessageDescriptor) -> Object {
        Object { message, begun: false, list: None }
    }

    /// # Errors
    /// It is no such field.
    fn put(&mut self, field: Bytes, text: &mut Vec<u8>) -> Result<(), String> {
        let mut alone = Vec::new();
        json::encode(&self.message, field, &mut alone)?;
        let inner = alone.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
        let inner = inner.ok_or("a message that is no object")?;
        if inner.is_empty() {
            return Ok(());
        }
        match list_in(inner) {
            Some((start, elements)) if self.list.as_deref() == Some(start) => {
                text.push(b',');
                text.extend_from_slice(elements);
            }
            Some((start, elements)) => {
                self.begin_member(text);
                text.extend_from_slice(start);
                text.extend_from_slice(elements);
                self.list = Some(start.to_vec());
            }
            None => {
                self.begin_member(text);
                text.extend_from_slice(inner);
            }
        }
        Ok(())
    }

    fn begin_member(&mut self, text: &mut Vec<u8>) {
        if self.list.take().is_some() {
            text.push(b']');
        }
        text.push(if self.begun { b',' } else { b'{' });
        self.begun = true;
    }

    fn end(&mut self, text: &mut Vec<u8>) {
        if self.list.take().is_some() {
            text.push(b']');
        }
        if !self.begun {
            text.push(b'{');
        }
        text.push(b'}');
    }
}

/// The object of a whole message, field by field.
///
/// # Errors
/// It is no such message.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn all_at_once(
    message: &MessageDescriptor,
    mut encoded: Bytes,
) -> Result<Vec<u8>, String> {
    let (mut object, mut text) = (Object::new(message.clone()), Vec::new());
    while !encoded.is_empty() {
        let len = super::call::field_len(&encoded).filter(|len| *len <= encoded.len());
        object.put(encoded.split_to(len.ok_or("no field")?), &mut text)?;
    }
    object.end(&mut text);
    Ok(text)
}

/// If a member `"name":[...]` is a list: its beginning with the bracket, and what is in it.
fn list_in(member: &[u8]) -> Option<(&[u8], &[u8])> {
    // Names of fields have neither quotes nor colons in them.
    let colon = member.iter().position(|byte| *byte == b':')?;
    let (start, rest) = member.split_at(colon + 2);
    Some((start, rest.strip_suffix(b"]")?)).filter(|(start, _)| start.ends_with(b"["))
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{
        AuthUserGetResponse, RangeResponse, ResponseHeader, TxnResponse, response_op::Response,
    };
    use api::etcdserverpb::{DeleteRangeResponse, ResponseOp};
    use api::mvccpb::KeyValue;
    use prost::Message;

    use super::super::table::Table;
    use super::*;

    /// Field by field, and as a whole.
    fn both(path: &str, message: &impl Message) -> (String, String) {
        let descriptor = Table::new().method(path).unwrap().output.clone();
        let encoded = Bytes::from(message.encode_to_vec());
        let mut whole = Vec::new();
        json::encode(&descriptor, encoded.clone(), &mut whole).unwrap();
        let pieces = all_at_once(&descriptor, encoded).unwrap();
        (String::from_utf8(pieces).unwrap(), String::from_utf8(whole).unwrap())
    }

    #[test]
    fn pieces_are_the_whole() {
        // Proves that an answer made field by field is the one made at once: lists of messages and
        // of text, what is empty, and what stands before and behind.
        let header = Some(ResponseHeader { revision: 7, ..Default::default() });
        let kv = |key: &'static str| KeyValue { key: key.into(), version: 1, ..Default::default() };
        let kvs = vec![kv("a"), KeyValue::default(), kv("]")];
        let range = RangeResponse { header, kvs: kvs.clone(), more: true, count: 9 };
        let deleted = DeleteRangeResponse { deleted: 3, prev_kvs: kvs, ..Default::default() };
        let ops = [Response::ResponseRange(range.clone()), Response::ResponseDeleteRange(deleted)];
        let responses = ops.map(|op| ResponseOp { response: Some(op) }).to_vec();
        let txn = TxnResponse { header, succeeded: true, responses };
        let roles = vec!["r,1".to_owned(), "[".to_owned()];
        for (piecewise, whole) in [
            both("/v3/kv/range", &range),
            both("/v3/kv/range", &RangeResponse::default()),
            both("/v3/kv/range", &RangeResponse { kvs: vec![kv("b")], ..Default::default() }),
            both("/v3/kv/txn", &txn),
            both("/v3/auth/user/get", &AuthUserGetResponse { header, roles }),
        ] {
            assert_eq!(piecewise, whole);
        }
    }
}
