//! The entry for fuzzing: what the store holds and what is asked, from bytes that nobody wrote.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::mvccpb::KeyValue;
use futures::{FutureExt, StreamExt};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::{BufDnsStreamHandle, Protocol};
use hickory_server::server::{Request, RequestHandler, ResponseHandle};
use parking_lot::RwLock;

use super::forward::{Forwarder, Resolvers};
use super::handler::{DATAGRAM_BYTES_MAX, Handler};
use super::view::{Part, View};
use super::{Metrics, SKYDNS_PATH, Zone, cluster};
use crate::discovery::layout;
use crate::kv::follow::Change;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
const CHANGES_MAX: u8 = 8;
const TTL_S: u32 = 30;

/// Takes arbitrary bytes as what clients wrote into the store, and answers a question of arbitrary
/// bytes from it.
///
/// The first byte says by which protocol it is asked, the second how many keys there are. Each has a
/// byte for its part, one for the length of its key, two for that of its value (0 and 0xffff: it is
/// removed), then both; the rest is the question. A request that can be read is answered, once, with
/// a message that can be read and fits; nothing panics.
pub fn question_arbitrary(data: &[u8]) {
    let [protocol, count, rest @ ..] = data else { return };
    let mut view = View::new(SKYDNS_PATH);
    let mut rest = rest;
    for _ in 0..*count % (CHANGES_MAX + 1) {
        let Some((part, change, after)) = change(rest) else { return };
        view.apply(part, &[change]);
        rest = after;
    }
    view.is_complete = true;
    assert!(view.malformed() <= u64::from(CHANGES_MAX));
    let protocol = if protocol % 2 == 0 { Protocol::Udp } else { Protocol::Tcp };
    ask(view, rest, protocol);
}

fn change(data: &[u8]) -> Option<(Part, Change, &[u8])> {
    let [part, key_len, high, low, rest @ ..] = data else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let part = Part::ALL[usize::from(*part) % Part::ALL.len()];
    let skydns = format!("{SKYDNS_PATH}/");
    let prefix = match part {
        Part::Services => layout::SERVICES,
        Part::Health => layout::HEALTH,
        Part::ClusterServices => cluster::SERVICES,
        Part::EndpointSlices => cluster::SLICES,
        Part::SkyDns => &skydns,
    };
    let key = [prefix.as_bytes(), key].concat().into();
    let value_len = u16::from_be_bytes([*high, *low]);
    if value_len == u16::MAX {
        return Some((part, Change::Delete(key), rest));
    }
    let (value, rest) = rest.split_at_checked(usize::from(value_len))?;
    let value = value.to_vec().into();
    Some((part, Change::Put(KeyValue { key, value, ..KeyValue::default() }), rest))
}

fn ask(view: View, question: &[u8], protocol: Protocol) {
    let Ok(request) = Request::from_bytes(question.to_vec(), CLIENT, protocol) else { return };
    let zones = vec![Zone::cluster_local(), "a.b".parse().expect("two short labels are a name")];
    let forwarder = Forwarder::new(Resolvers::Named(Vec::new()));
    let view = Arc::new(RwLock::new(view));
    let handler = Handler::new(view, zones, TTL_S, forwarder, Metrics::default());
    let (answers, mut sent) = BufDnsStreamHandle::new(CLIENT);
    let answer = ResponseHandle::new(CLIENT, answers, protocol);
    let handled = handler.handle_request::<_, TokioTime>(&request, answer).now_or_never();
    handled.expect("nobody else is asked");
    let answer = sent.next().now_or_never().flatten().expect("it was answered").into_parts().0;
    check(&request, &answer, protocol);
    assert!(sent.next().now_or_never().flatten().is_none(), "it was answered twice");
}

fn check(request: &Request, answer: &[u8], protocol: Protocol) {
    let bytes_max = match protocol {
        Protocol::Udp => usize::from(DATAGRAM_BYTES_MAX),
        _ => usize::from(u16::MAX),
    };
    assert!(answer.len() <= bytes_max, "{} bytes", answer.len());
    let answer = Message::from_vec(answer).expect("an answer can be read");
    assert_eq!(answer.metadata.id, request.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    let has_nothing = answer.answers.is_empty();
    assert!(answer.metadata.response_code == ResponseCode::NoError || has_nothing, "{answer}");
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};
    use proptest::prelude::*;

    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/dns_question");
        let mut files = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            question_arbitrary(&std::fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 5, "the corpus has {files} files");
    }

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
        let name = Name::from_labels(labels).unwrap();
        message.add_query(Query::query(name, RecordType::from(kind)));
        message.to_vec().unwrap()
    }

    /// Where names come from, and keys that give such names.
    fn key() -> impl Strategy<Value = (u8, String)> {
        let word = || "[a-c*_-]{0,3}";
        prop_oneof![
            (0..2_u8, word(), word()).prop_map(|(part, a, b)| (part, format!("{a}/{b}"))),
            (2..4_u8, word(), word()).prop_map(|(part, a, b)| (part, format!("{a}/{b}"))),
            (word(), word()).prop_map(|(a, b)| (4, format!("local/cluster/{a}/{b}"))),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        let address = prop_oneof![
            Just("10.0.0.1".to_owned()),
            Just("::1".to_owned()),
            "[a-c.*]{0,5}",
            Just("x".repeat(300)),
        ];
        (address, any::<i32>(), "[a-z]{0,300}", 0..5_u8).prop_map(|(address, number, text, kind)| {
            match kind {
                0 => format!(r#"{{"address":"{address}","port":80,"weight":{}}}"#, number & 0xffff),
                1 => format!(
                    r#"{{"host":"{address}","port":{number},"text":"{text}","ttl":{number},"mail":true}}"#
                ),
                2 => format!(
                    r#"{{"kind":"Service","metadata":{{"name":"a","namespace":"b"}},
                       "spec":{{"clusterIP":"{address}","ports":[{{"name":"{text}","port":80}}]}}}}"#
                ),
                3 => format!(
                    r#"{{"metadata":{{"name":"a","namespace":"b","labels":{{"kubernetes.io/service-name":"a"}}}},
                       "addressType":"IPv4","endpoints":[{{"addresses":["{address}"],"hostname":"{text}"}}]}}"#
                ),
                _ => text,
            }
        })
    }

    proptest! {
        #[test]
        fn any_question_is_answered(
            keys in prop::collection::vec((key(), value()), 0..6),
            name in "([a-c*]{1,3}\\.){0,4}(svc\\.cluster\\.local|cluster\\.local|a\\.b|[a-d]{1,9})\\.?",
            kind in prop_oneof![prop::sample::select(vec![1_u16, 2, 5, 6, 15, 16, 28, 33, 255]), any::<u16>()],
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            protocol in any::<u8>(),
        ) {
            // Proves the same for documents and questions that nearly are some.
            let mut data = vec![protocol, u8::try_from(keys.len()).unwrap()];
            for ((part, key), value) in keys {
                data.extend([part, u8::try_from(key.len()).unwrap()]);
                data.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
                data.extend(key.as_bytes());
                data.extend(value.as_bytes());
            }
            let mut question = question(&name, kind);
            for (at, byte) in noise {
                let at = at.index(question.len());
                question[at] = byte;
            }
            data.extend(question);
            question_arbitrary(&data);
        }
    }
}
