//! The listener for members.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::Pair;
use crate::server::{Place, berth, flag};

/// Asks the peer address for its version, over TLS.
fn version(place: &Place, pair: &Pair) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.authority.file()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&pair.key).unwrap())
        .unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", place.peer))?);
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn only_members_come_in() {
    // Shows a secure peer address: a certificate with an allowed name is let in, one with another
    // name, a revoked one and one of another authority are not; the log says why.
    let place = Place::new();
    let peer = format!("https://127.0.0.1:{}", place.peer);
    let list = place.path("list");
    place.authority.revoke(&list, &[13]);
    let own = place.authority.sign("member", 11);
    let mut flags = place.with_certificate();
    flags.extend([
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        flag("peer-cert-file", &own.cert),
        flag("peer-key-file", &own.key),
        flag("peer-trusted-ca-file", &place.authority.file()),
        flag("peer-crl-file", &list),
        "--peer-client-cert-auth".to_owned(),
        "--peer-cert-allowed-cn=member,other-member".to_owned(),
    ]);
    let mut server = place.start(&berth(), &flags);
    let answer = version(&place, &place.authority.sign("other-member", 12)).unwrap();
    assert!(answer.contains("etcdserver"), "{answer}");
    assert!(version(&place, &place.authority.sign("member", 13)).is_err());
    assert!(version(&place, &place.authority.sign("stranger", 14)).is_err());
    let other = crate::certificates::Authority::new(place.dir.path(), "other");
    assert!(version(&place, &other.sign("member", 15)).is_err());
    server.says(&["Revoked", "stranger"]);
}
