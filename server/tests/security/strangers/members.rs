//! The address for other members.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use api::berthpb::command::Op;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer as PeerAnswer;
use api::berthpb::refusal::Reason;
use api::berthpb::{
    AppendRequest, AppendResponse, Command, Envelope, PeerRequest, PeerResponse, Principal,
    ProposeQuestion, SnapshotPiece, SnapshotStart, append_response,
};
use api::etcdserverpb::PutRequest;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tonic::Code;

use super::planted::{KEY, Planted};
use super::raw::{Answer, Method, ask, channel, methods, proto_files};
use crate::certificates::Pair;
use crate::server::{Place, berth, flag};

/// What members ask each other, by number of the field, but for who they are.
fn questions() -> Vec<u32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/proto");
    let descriptors = protox::compile(proto_files(&root.join("berth")), [root]).unwrap();
    let mut messages = descriptors.file.iter().flat_map(|file| &file.message_type);
    let request = messages.find(|message| message.name() == "PeerRequest").unwrap();
    let questions = request.field.iter().filter(|field| field.oneof_index.is_some());
    let others = questions.filter(|field| field.name() != "identity");
    others.map(|field| u32::try_from(field.number()).unwrap()).collect()
}

/// A request with an empty question of that number.
fn request(envelope: Option<Envelope>, number: u32) -> Vec<u8> {
    let mut bytes = PeerRequest { envelope, question: None }.encode_to_vec();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(0, &mut bytes);
    bytes
}

fn foreign() -> Envelope {
    Envelope { cluster_id: 0xbad, from: 1, ..Envelope::default() }
}

fn refused_for(answer: &Answer) -> Option<Reason> {
    match PeerResponse::decode(answer.bytes.as_slice()).unwrap().answer? {
        PeerAnswer::Refusal(refusal) => Some(refusal.reason()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_among_members_is_refused() {
    // Shows that without TLS whoever does not name the right cluster is refused every question, a
    // stream and a snapshot, a write in root's name among them; only who is here is told to anybody.
    let planted = Planted::new(berth()).await;
    let before = planted.contents().await;
    let channel = channel(&format!("http://127.0.0.1:{}", planted.server.peer_port));
    let all = methods("berth", "berthpb");
    let method = |name: &str| all.iter().find(|method| method.path.ends_with(name)).unwrap();
    assert_eq!(all.len(), 3, "say what a stranger asks of the others: {all:?}");
    let call = async |message: Vec<u8>, method: &Method| {
        let answer = ask(&channel, method, message, &[]).await;
        assert_eq!(planted.found_in(&answer.everything()), None, "{answer:?}");
        assert_eq!(answer.code, Code::Ok, "{answer:?}");
        answer
    };

    let numbers = questions();
    assert!(numbers.len() > 5, "{numbers:?}");
    for number in numbers {
        let answer = call(request(Some(foreign()), number), method("/Call")).await;
        assert_eq!(refused_for(&answer), Some(Reason::WrongCluster), "{number}: {answer:?}");
        let answer = call(request(None, number), method("/Call")).await;
        assert_eq!(refused_for(&answer), Some(Reason::NotUnderstood), "{number}: {answer:?}");
    }
    let put = PutRequest { key: KEY.into(), value: "a stranger's".into(), ..Default::default() };
    let command = Command {
        principal: Some(Principal { user: "root".to_owned(), auth_revision: 100 }),
        origin: None,
        op: Some(Op::Put(put)),
    };
    let commands = vec![command.encode_to_vec().into()];
    let question = Some(Question::Propose(ProposeQuestion { commands }));
    let write = PeerRequest { envelope: Some(foreign()), question };
    let answer = call(write.encode_to_vec(), method("/Call")).await;
    assert_eq!(refused_for(&answer), Some(Reason::WrongCluster), "{answer:?}");

    let append = AppendRequest { envelope: Some(foreign()), ..AppendRequest::default() };
    let answer = call(append.encode_to_vec(), method("/Append")).await;
    let told = AppendResponse::decode(answer.bytes.as_slice()).unwrap().outcome;
    assert!(matches!(told, Some(append_response::Outcome::Refusal(_))), "{told:?}");
    let start = SnapshotStart { envelope: Some(foreign()), ..SnapshotStart::default() };
    let piece = SnapshotPiece { start: Some(start), data: "".into() };
    let answer = call(piece.encode_to_vec(), method("/Snapshot")).await;
    assert_eq!(refused_for(&answer), Some(Reason::WrongCluster), "{answer:?}");
    assert_eq!(planted.contents().await, before);
}

/// The flags of a member with secure peer addresses.
fn secure(place: &Place) -> Vec<String> {
    let peer = format!("https://127.0.0.1:{}", place.peer);
    let own = place.authority.sign("member", 11);
    let mut flags = place.with_certificate();
    flags.extend([
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        flag("peer-cert-file", &own.cert),
        flag("peer-key-file", &own.key),
        flag("peer-trusted-ca-file", &place.authority.file()),
        "--peer-client-cert-auth".to_owned(),
    ]);
    flags
}

/// All that the peer address says to `sent`, over TLS.
fn over_tls(place: &Place, pair: Option<&Pair>, sent: &[u8]) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.authority.file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match pair {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", place.peer)).unwrap();
    all_said(StreamOwned::new(session, socket), sent)
}

fn all_said(mut stream: impl Read + Write, sent: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    // Being cut off is what is expected.
    if stream.write_all(sent).is_ok() {
        let _ = stream.read_to_end(&mut said);
    }
    said
}

#[test]
fn without_a_certificate_there_is_nothing_at_a_secure_peer_address() {
    // Shows that whoever shows no certificate, and whoever speaks no TLS, gets not one byte of HTTP
    // from any path, while a member gets an answer.
    let place = Place::new();
    let mut server = place.start(&berth(), &secure(&place));
    let member = place.authority.sign("member", 12);
    for path in ["/version", "/members", "/metrics", "/health", "/berthpb.Peer/Call"] {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n");
        let said = over_tls(&place, Some(&member), sent.as_bytes());
        assert!(said.starts_with(b"HTTP/1.1"), "{path}: {said:?}");
        assert_eq!(over_tls(&place, None, sent.as_bytes()), b"", "{path}");
        let socket = TcpStream::connect(("127.0.0.1", place.peer)).unwrap();
        let said = all_said(socket, sent.as_bytes());
        // An alert of TLS, of 7 bytes, may come.
        assert!(said.is_empty() || (said[0] == 21 && said.len() == 7), "{path}: {said:?}");
    }
    server.says(&["rejected connection"]);
}
