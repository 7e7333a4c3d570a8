//! The JSON gateway and the v2 API behind TLS: a certificate is nobody there, but without one nobody
//! is served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use testkit::Program;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::Pair;
use crate::server::{Place, berth};

/// Status and body of a call by a client that shows `pair`, if it shows any; `None`: no answer.
fn ask(place: &Place, pair: Option<&Pair>, request: &str, body: &str) -> Option<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.authority.file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match pair {
        Some(pair) => {
            let own = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            config.with_client_auth_cert(own, key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", place.client)).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let request = format!(
        "{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    // Whoever is refused may learn of it here already.
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // Not everybody says good-bye.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head[9..12].parse().unwrap(), body.to_owned()))
}

/// The same for a call of the gateway that is answered.
fn call(place: &Place, pair: &Pair, path: &str, body: &str) -> (u16, String) {
    ask(place, Some(pair), &format!("POST {path}"), body).unwrap()
}

/// What users with and without a name in their certificate are told.
fn transcript(program: &Program) -> Vec<(u16, String)> {
    let place = Place::new();
    let _server = place.start(program, &place.with_client_certificates());
    let (root, nobody) = (place.authority.sign("root", 10), place.authority.sign("", 11));
    let put = |pair: &Pair| {
        let (status, body) = call(&place, pair, "/v3/kv/put", r#"{"key":"aw==","value":"dg=="}"#);
        // What it was told, but for the ids in it.
        (status, if status == 200 { String::new() } else { body })
    };
    let mut told = vec![put(&root), put(&nobody)];
    for line in ["user add root:pw", "role add root", "user grant-role root root", "auth enable"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(place.etcdctl(Some(&root), &words).is_ok(), "{line}");
    }
    told.extend([put(&root), put(&nobody)]);
    told
}

#[test]
fn a_certificate_is_no_user_of_the_gateway() {
    // Shows that with auth on a certificate with a name is turned away, in etcd's words, and that
    // one without is a stranger; and that before that both are served.
    let (ours, theirs) = (transcript(&berth()), transcript(&Program::etcd()));
    assert_eq!(ours[..3], theirs[..3]);
    let statuses = |told: &[(u16, String)]| told.iter().map(|(it, _)| *it).collect::<Vec<_>>();
    assert_eq!(statuses(&ours), [200, 200, 400, 400]);
    assert!(ours[3].1.contains("user name is empty"), "{ours:?}");
    // etcd's gateway comes to etcd with the certificate of the server, which is no user.
    assert_eq!(statuses(&theirs), [200, 200, 400, 403]);
}

/// What clients of the v2 API are told, with a certificate and without.
fn v2_transcript(program: &Program) -> Vec<Option<(u16, String)>> {
    let place = Place::new();
    let mut flags = place.with_client_certificates();
    flags.push("--enable-v2".to_owned());
    let _server = place.start(program, &flags);
    let (ann, key) = (place.authority.sign("ann", 10), "/v2/keys/dir/key");
    let told = |pair: Option<&Pair>, verb: &str, body: &str| {
        let (status, body) = ask(&place, pair, &format!("{verb} {key}"), body)?;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        // Indexes differ: etcd's members are in its tree.
        let said = ["/action", "/node/key", "/node/value", "/prevNode/value", "/errorCode"];
        let said = said.map(|place| body.pointer(place).map(ToString::to_string));
        Some((status, format!("{said:?}")))
    };
    let mut all = Vec::new();
    for pair in [Some(&ann), None] {
        all.push(told(pair, "PUT", "value=one"));
        all.push(told(pair, "GET", ""));
        all.push(told(pair, "PUT", "value=two&prevValue=wrong"));
        all.push(told(pair, "PUT", "value=two&prevValue=one"));
        all.push(told(pair, "DELETE", ""));
        all.push(told(pair, "GET", ""));
    }
    // By plain HTTP there is nobody.
    let mut plain = TcpStream::connect(("127.0.0.1", place.client)).unwrap();
    plain.write_all(format!("GET {key} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    all
}

#[test]
fn the_v2_api_is_behind_tls_too() {
    // Shows that whoever has a certificate is served as by etcd, and that nobody else is.
    let (ours, theirs) = (v2_transcript(&berth()), v2_transcript(&Program::etcd()));
    assert_eq!(ours, theirs);
    let statuses: Vec<_> = ours.iter().map(|told| told.as_ref().map(|(it, _)| *it)).collect();
    let served = [201, 200, 412, 200, 200, 404].map(Some);
    assert_eq!(statuses, [served, [None; 6]].concat());
}
