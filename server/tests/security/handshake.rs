//! Who gets through a handshake with clients, and by what.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::server::{Place, berth, flag};

/// Version and cipher suite that a client of everything gets, or none.
fn negotiate(place: &Place) -> Option<(String, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.authority.file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", place.client)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    let suite = session.negotiated_cipher_suite()?.suite();
    Some((format!("{:?}", session.protocol_version()?), format!("{suite:?}")))
}

#[test]
fn versions_and_suites_are_those_asked_for() {
    // Shows what is agreed on with each bound on the version, and with one suite of TLS 1.2.
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    for (flags, version, with) in [
        (vec![], "TLSv1_3", None),
        (vec!["--tls-max-version=TLS1.2"], "TLSv1_2", None),
        (vec!["--tls-min-version=TLS1.3"], "TLSv1_3", None),
        (
            vec![
                "--tls-max-version=TLS1.2",
                "--cipher-suites=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            ],
            "TLSv1_2",
            Some(suite),
        ),
    ] {
        let place = Place::new();
        let mut all = place.with_certificate();
        all.extend(flags.iter().map(ToString::to_string));
        let _server = place.start(&berth(), &all);
        let (found, by) = negotiate(&place).unwrap();
        assert_eq!(found, version, "{flags:?}");
        assert!(with.is_none_or(|suite| suite == by), "{flags:?}: {by}");
    }
}

#[test]
fn no_common_suite_is_no_connection() {
    // Shows that a suite for another kind of key leaves nothing to agree on.
    let place = Place::new();
    let mut flags = place.with_certificate();
    flags.push("--tls-max-version=TLS1.2".to_owned());
    flags.push("--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned());
    let mut server = place.start(&berth(), &flags);
    assert_eq!(negotiate(&place), None);
    server.says(&["rejected connection"]);
}

#[test]
fn a_revoked_client_is_turned_away() {
    // Shows the revocation list: read at the start, again when it changes, and kept when what it
    // changed to is none. Both etcdctl and berth ctl are clients.
    let place = Place::new();
    let list = place.path("list");
    place.authority.revoke(&list, &[77]);
    let mut flags = place.with_client_certificates();
    flags.push(flag("client-crl-file", &list));
    let mut server = place.start(&berth(), &flags);
    let (good, bad) = (place.authority.sign("good", 76), place.authority.sign("bad", 77));
    let put = ["put", "k", "v"];
    assert!(place.etcdctl(Some(&good), &put).is_ok());
    assert!(place.ctl(Some(&good), &put).is_ok());
    assert!(!place.etcdctl(Some(&bad), &put).is_ok());
    let told = place.ctl(Some(&bad), &put);
    assert!(!told.is_ok(), "{told:?}");
    server.says(&["Revoked"]);

    place.authority.revoke(&list, &[76]);
    assert!(!place.ctl(Some(&good), &put).is_ok());
    assert!(place.ctl(Some(&bad), &put).is_ok());
    fs::write(&list, "none").unwrap();
    assert!(!place.ctl(Some(&good), &put).is_ok());
    assert!(place.ctl(Some(&bad), &put).is_ok());
    server.says(&["cannot be used", "list"]);
}

#[test]
fn a_client_comes_with_an_allowed_name() {
    // Shows --client-cert-allowed-hostname, with a name that the certificate bears and one that it
    // does not.
    for (allowed, fits) in [("10.0.0.1,127.0.0.1", true), ("10.0.0.1", false)] {
        let place = Place::new();
        let mut flags = place.with_client_certificates();
        flags.push(format!("--client-cert-allowed-hostname={allowed}"));
        let _server = place.start(&berth(), &flags);
        let pair = place.authority.sign("any", 5);
        assert_eq!(place.etcdctl(Some(&pair), &["get", "k"]).is_ok(), fits, "{allowed}");
    }
}

#[test]
fn the_authorities_of_clients_are_read_again() {
    // Shows that a new authority counts, and the old one no more, without a restart.
    let place = Place::new();
    let trusted = place.path("trusted.pem");
    fs::copy(place.authority.file(), &trusted).unwrap();
    let mut flags = place.with_certificate();
    flags.push(flag("trusted-ca-file", &trusted));
    let _server = place.start(&berth(), &flags);
    let other = crate::certificates::Authority::new(place.dir.path(), "other");
    let (ours, theirs) = (place.authority.sign("a", 5), other.sign("b", 6));
    let get = ["get", "k"];
    assert!(place.ctl(Some(&ours), &get).is_ok() && !place.ctl(Some(&theirs), &get).is_ok());
    fs::copy(other.file(), &trusted).unwrap();
    assert!(place.ctl(Some(&theirs), &get).is_ok() && !place.ctl(Some(&ours), &get).is_ok());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_bound() {
    // Shows one line that names the file or the flag, and exit code 1.
    let place = Place::new();
    let pair = place.with_certificate();
    let with = |more: &[String]| [pair.as_slice(), more].concat();
    let ca = flag("trusted-ca-file", &place.authority.file());
    for (flags, part) in [
        (with(&["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA".into()]), "TLS_RSA_WITH_RC4_128_SHA"),
        (with(&[ca, flag("client-crl-file", &place.path("missing"))]), "missing"),
        (with(&["--client-crl-file=x".into()]), "--trusted-ca-file"),
        (
            with(&[format!("--listen-peer-urls=https://127.0.0.1:{}", place.peer)]),
            "--peer-cert-file",
        ),
        (with(&["--auth-token=jwt,sign-method=RS256,priv-key=/none".into()]), "/none"),
    ] {
        let (code, log) = place.refusal(&flags);
        let last = log.lines().last().unwrap_or_default();
        assert_eq!(code, Some(1), "{flags:?}: {log}");
        assert!(last.contains(part), "{flags:?}: {log}");
    }
}
