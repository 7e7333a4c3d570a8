//! The JSON gateway behind TLS: a certificate is nobody there.

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

/// Status and body of a call by a client that shows `pair`.
fn call(place: &Place, pair: &Pair, path: &str, body: &str) -> (u16, String) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.authority.file()).unwrap()).unwrap();
    let own = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(own, key)
        .unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", place.client)).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Not everybody says good-bye.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
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
