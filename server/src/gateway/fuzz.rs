//! The entry for fuzzing: requests of the gateway from bytes that nobody wrote.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{HeaderName, HeaderValue, Uri, header};
use http_body_util::BodyExt;
use tonic::Code;

use super::body::{self, Messages};
use super::metadata::Metadata;
use super::path::Target;
use super::table::{Method, Table};
use super::{json, pieces, verb, websocket};
use crate::v2::decode_form;

/// The order is the corpus's: add at the end.
const READERS: &[fn(&[u8])] = &[request, requests, texts, answer, headers, path, form];

static METHODS: LazyLock<Vec<Arc<Method>>> =
    LazyLock::new(|| Table::new().paths().map(|(_, method)| method.clone()).collect());

/// Reads arbitrary bytes as a request to the gateway, or as a part of one, which the first byte
/// chooses, of the method that the second chooses.
///
/// Reading must answer or refuse, never panic; what it takes must come out again when it is written,
/// however it came in.
pub fn request_arbitrary(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    if let Some(read) = READERS.get(usize::from(choice)) {
        read(rest);
    }
}

fn method(data: &[u8]) -> Option<(&'static Arc<Method>, &[u8])> {
    let (&choice, rest) = data.split_first()?;
    Some((&METHODS[usize::from(choice) % METHODS.len()], rest))
}

/// One message, as JSON.
fn request(data: &[u8]) {
    let Some((method, text)) = method(data) else { return };
    let Ok(message) = json::decode(&method.input, text) else { return };
    let mut again = Vec::new();
    json::encode(&method.input, message.clone(), &mut again).expect("it is this message");
    let again = json::decode(&method.input, &again).expect("what was written can be read");
    assert_eq!(again, message);
}

/// A body with the messages of a call, in pieces of the size that the next byte says.
fn requests(data: &[u8]) {
    let Some((method, [size, text @ ..])) = method(data) else { return };
    let whole = called(method, messages(text, text.len().max(1), false));
    let in_pieces = called(method, messages(text, usize::from(*size) + 1, false));
    assert_eq!(in_pieces, whole);
}

/// The same of a WebSocket, where each piece is a message.
fn texts(data: &[u8]) {
    let Some((method, [size, text @ ..])) = method(data) else { return };
    let _ = called(method, messages(text, usize::from(*size) + 1, true));
}

fn messages(text: &[u8], size: usize, is_websocket: bool) -> Messages {
    let pieces: Vec<_> = text.chunks(size).map(Bytes::copy_from_slice).map(Ok).collect();
    let pieces = stream::iter(pieces);
    match is_websocket {
        true => Messages::of_pieces(pieces.boxed(), text.len() + 1),
        false => Messages::of_body(Body::from_stream(pieces), text.len() + 1),
    }
}

/// The messages that a call is made with.
fn called(method: &Arc<Method>, messages: Messages) -> Result<Bytes, Code> {
    let called = async {
        let requests = body::requests(method, messages).await.map_err(|status| status.code())?;
        Ok(requests.collect().await.expect("it does not break off").to_bytes())
    };
    called.now_or_never().expect("all of it is there")
}

/// The message of an answer, at once and field by field.
fn answer(data: &[u8]) {
    let Some((method, encoded)) = method(data) else { return };
    let encoded = Bytes::copy_from_slice(encoded);
    let _ = pieces::all_at_once(&method.output, encoded.clone());
    let mut text = Vec::new();
    if json::encode(&method.output, encoded, &mut text).is_err() {
        return;
    }
    // As berth encodes it: in order, and nothing unknown.
    let encoded = json::decode(&method.output, &text).expect("what was written can be read");
    let mut whole = Vec::new();
    json::encode(&method.output, encoded.clone(), &mut whole).expect("it is this message");
    assert_eq!(text, whole);
    assert_eq!(pieces::all_at_once(&method.output, encoded), Ok(whole));
}

/// Lines of `NAME: VALUE`.
fn headers(data: &[u8]) {
    let mut request = Request::new(Body::empty());
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            request.headers_mut().append(name, value);
        }
    }
    websocket::is_asked_for(&request);
    let (parts, _) = request.into_parts();
    verb::overridden(&parts);
    let with_token = websocket::with_token(&parts.headers);
    assert!(with_token.keys_len() >= parts.headers.keys_len(), "a header was lost");
    let Ok(metadata) = Metadata::of(&with_token) else { return };
    for name in metadata.headers.keys() {
        let is_token = name == header::AUTHORIZATION;
        let was_marked = parts.headers.contains_key(format!("grpc-metadata-{name}"));
        assert!(is_token || was_marked, "{name} came from nowhere");
        assert!(*name != header::CONTENT_TYPE && !name.as_str().starts_with("grpc-"), "{name}");
    }
}

/// Whoever is sent elsewhere finds something there.
fn path(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    let Target::Moved(to) = Target::of(&uri) else { return };
    assert!(to.starts_with('/') && !to.starts_with("//"), "{to} is another host");
    let there = Target::of(&to.parse().expect("it is an address"));
    assert!(matches!(there, Target::Path(_)), "{uri} is sent to {to}, and on to {there:?}");
}

fn form(data: &[u8]) {
    let _ = decode_form(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gateway_request");
        let mut chosen = BTreeSet::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            request_arbitrary(&data);
            chosen.extend(data.first().copied());
        }
        assert!(chosen.len() >= READERS.len(), "the corpus has each part at least once");
    }

    /// JSON whose names are often those of fields.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| format!("\"{number}\"")),
            "\"[a-zA-Z0-9+/_-]{0,6}={0,2}\"",
            Just("\"PUT\"".to_owned()),
            Just("\"\\ud800\"".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            let names = prop::sample::select(vec![
                "key",
                "rangeEnd",
                "range_end",
                "limit",
                "success",
                "failure",
                "compare",
                "request_put",
                "requestRange",
                "request_txn",
                "create_request",
                "filters",
                "ID",
                "target",
                "version",
                "value",
                "lease",
                "name",
                "user",
                "perm",
                "peerURLs",
                "else",
            ]);
            prop_oneof![
                prop::collection::vec((names, inner.clone()), 0..5).prop_map(|fields| {
                    let fields: Vec<_> =
                        fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
                prop::collection::vec(inner, 0..4)
                    .prop_map(|values| format!("[{}]", values.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(
            reader in 0..3_u8, method in any::<u8>(), size in any::<u8>(),
            values in prop::collection::vec(value(), 0..4),
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            // Proves the same for JSON that nearly is a message, in one or many pieces.
            let mut text = values.join(if size % 2 == 0 { " " } else { "" }).into_bytes();
            if let Some((at, byte)) = change.filter(|_| !text.is_empty()) {
                let at = at.index(text.len());
                text[at] = byte;
            }
            let head: &[u8] = if reader == 0 { &[reader, method] } else { &[reader, method, size] };
            request_arbitrary(&[head, &text].concat());
        }

        #[test]
        fn any_answer_is_written_the_same_in_pieces(
            method in any::<u8>(),
            fields in prop::collection::vec((1..10_u8, prop::collection::vec(any::<u8>(), 0..20)), 0..8),
        ) {
            // Proves the same for the bytes of answers.
            let mut data = vec![3, method];
            for (number, bytes) in fields {
                match bytes.len() {
                    1 => data.extend([number << 3, bytes[0] & 0x7f]),
                    len => {
                        data.extend([number << 3 | 2, u8::try_from(len).unwrap()]);
                        data.extend(bytes);
                    }
                }
            }
            request_arbitrary(&data);
        }

        #[test]
        fn any_head_is_read(
            lines in prop::collection::vec(
                "(authorization|cookie|sec-websocket-protocol|grpc-timeout|grpc-metadata-[a-z-]{0,9}|connection|upgrade|x-http-method-override): ?(Bearer|token=|[ -~]){0,9}",
                0..6,
            ),
            path in "/(v3|v3beta|%7[0-9a-g]|\\.|\\.\\.|/|[a-z%?;]){0,9}",
        ) {
            // Proves the same for headers and paths.
            request_arbitrary(&[&[4], lines.join("\n").as_bytes()].concat());
            request_arbitrary(&[&[5], path.as_bytes()].concat());
            request_arbitrary(&[&[6], path.as_bytes()].concat());
        }
    }
}
