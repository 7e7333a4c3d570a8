use std::path::Path;

use tokio::net::TcpListener;

use super::*;
use crate::config::{
    AllowedNames, Certificate, PeerTlsSettings, TlsProtocol, TlsSettings, TlsVersions,
};
use crate::serve::tls::PeerTls;

/// As with `--peer-auto-tls`.
fn self_signed(dir: &Path) -> PeerTls {
    let certificate = Certificate::SelfSigned {
        dir: dir.to_owned(),
        hosts: vec!["127.0.0.1".to_owned()],
        validity_years: 1,
    };
    let protocol = TlsProtocol { versions: TlsVersions::Both, cipher_suites: vec![] };
    let common = TlsSettings {
        certificate,
        trusted_ca_file: None,
        crl_file: None,
        allowed: AllowedNames::Any,
        protocol,
    };
    PeerTls::open(&PeerTlsSettings { common, dialing: None, check_remote_address: true }).unwrap()
}

#[tokio::test]
async fn members_talk_over_tls() {
    // Shows calls over an https URL, and that a plain connection to it fails.
    let dir = tempfile::tempdir().unwrap();
    let tls = self_signed(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = Metrics::new(false).peers(2);
    let member = Listening::on(listener, metrics.clone(), Some(tls.acceptor().clone()));
    member.leave.add_permits(100);
    let options = Options { metrics, tls: Some(tls.connector().clone()) };
    let transport = GrpcTransport::new(options);
    let https = [format!("https://{}", member.address)];
    let link = transport.link(Route::to_urls(&https), Purpose::Requests);
    assert_eq!(soon(ask(&link, 1)).await, Ok(1));

    let plain = transport.link(Route::to_urls(&[member.url()]), Purpose::Requests);
    assert!(soon(ask(&plain, 1)).await.is_err());
}
