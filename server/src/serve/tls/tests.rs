//! Both ends of a connection between members, over loopback, with certificates made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use sched::tls::Anyone;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::PeerTls;
use crate::config::{
    AllowedNames, Certificate, CertificateFiles, PeerTlsSettings, TlsProtocol, TlsSettings,
    TlsVersions,
};

struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs `name` for `hosts` under a serial number.
    fn sign(&self, name: &str, hosts: &[&str], serial: u64) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let pair = KeyPair::generate().unwrap();
        let files = CertificateFiles { cert: self.path("m.pem"), key: self.path("m.key") };
        fs::write(&files.key, pair.serialize_pem()).unwrap();
        fs::write(&files.cert, params.signed_by(&pair, &self.issuer).unwrap().pem()).unwrap();
        files
    }

    fn revoke(&self, serial: u64) -> rcgen::CertificateRevocationList {
        let now = OffsetDateTime::now_utc();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::from_secs(3600),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }

    fn settings(&self, files: CertificateFiles) -> PeerTlsSettings {
        PeerTlsSettings {
            common: TlsSettings {
                certificate: Certificate::Files(files),
                trusted_ca_file: Some(self.path("ca.pem")),
                crl_file: None,
                allowed: AllowedNames::Any,
                protocol: TlsProtocol { versions: TlsVersions::Both, cipher_suites: vec![] },
            },
            dialing: None,
            check_remote_address: true,
        }
    }
}

/// Whether `dialing` and `listening` take each other, towards 127.0.0.1. Both ends send and
/// receive: in TLS 1.3 the dialer learns of a refusal with the first answer.
async fn meet(listening: &PeerTls, dialing: &PeerTls) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = listening.acceptor().accept(stream).await.map_err(|e| e.to_string())?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream.write_all(b"hello").await.map_err(|e| e.to_string())?;
        stream.shutdown().await.map_err(|e| e.to_string())
    };
    let dial = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = dialing
            .connector()
            .connect("127.0.0.1", stream)
            .await
            .map_err(|error| format!("dialing: {error}"))?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.map(drop).map_err(|error| format!("dialing: {error}"))
    };
    let (accepted, dialed) = tokio::join!(accept, dial);
    accepted.and(dialed)
}

fn open(settings: &PeerTlsSettings) -> PeerTls {
    PeerTls::open(settings).unwrap()
}

const HERE: &[&str] = &["127.0.0.1"];

#[tokio::test]
async fn members_of_one_authority_meet() {
    // Shows that both ends check the other's authority.
    let (one, other) = (Authority::new(), Authority::new());
    let ours = open(&one.settings(one.sign("m", HERE, 1)));
    let theirs = open(&other.settings(other.sign("m", HERE, 1)));
    assert_eq!(meet(&ours, &ours).await, Ok(()));
    assert!(meet(&ours, &theirs).await.is_err());
    assert!(meet(&theirs, &ours).await.is_err());
}

#[tokio::test]
async fn only_allowed_names_are_let_in() {
    // Shows the common name and the host name, each with one that fits and one that does not, and
    // that the refusal says whose certificate it was.
    let authority = Authority::new();
    let mut settings = authority.settings(authority.sign("member", &["127.0.0.1", "a.test"], 1));
    let any = open(&settings);
    for (allowed, fits) in [
        (AllowedNames::CommonNames(vec!["other".into(), "member".into()]), true),
        (AllowedNames::CommonNames(vec!["other".into()]), false),
        (AllowedNames::Hostnames(vec!["b.test".into(), "a.test".into()]), true),
        (AllowedNames::Hostnames(vec!["127.0.0.1".into()]), true),
        (AllowedNames::Hostnames(vec!["b.test".into(), "not a name".into()]), false),
    ] {
        settings.common.allowed = allowed.clone();
        let strict = open(&settings);
        let (accepted, dialed) = (meet(&strict, &any).await, meet(&any, &strict).await);
        assert_eq!((accepted.is_ok(), dialed.is_ok()), (fits, fits), "{allowed:?}");
        if !fits {
            let error = accepted.unwrap_err();
            assert!(error.contains("client certificate authentication failed"), "{error}");
            assert!(error.contains("certificate of \"member\""), "{error}");
        }
    }
}

#[tokio::test]
async fn a_member_comes_from_where_its_certificate_says() {
    // Shows that a certificate for another address is refused, and that the check can be off. The
    // dialer shows it apart from the one that the listener is checked by.
    let authority = Authority::new();
    let elsewhere = authority.sign("far", &["192.0.2.1"], 1);
    let away = authority.path("away");
    fs::create_dir(&away).unwrap();
    let files = CertificateFiles { cert: away.join("c"), key: away.join("k") };
    fs::rename(&elsewhere.cert, &files.cert).unwrap();
    fs::rename(&elsewhere.key, &files.key).unwrap();
    let mut settings = authority.settings(authority.sign("near", HERE, 2));
    settings.dialing = Some(files);
    let strict = open(&settings);
    let error = meet(&strict, &strict).await.unwrap_err();
    assert!(error.contains("does not match any of"), "{error}");
    settings.check_remote_address = false;
    assert_eq!(meet(&open(&settings), &strict).await, Ok(()));
}

#[tokio::test]
async fn a_revoked_member_is_refused_without_a_restart() {
    // Shows that a list in DER and one in PEM both count, from the next connection on, that a
    // damaged list changes nothing, and that no list at the start is an error that names the file.
    let authority = Authority::new();
    let mut settings = authority.settings(authority.sign("m", HERE, 0x8000_0001));
    let list = authority.path("list");
    settings.common.crl_file = Some(list.clone());
    let missing = PeerTls::open(&settings).err().unwrap();
    assert!(missing.contains("list"), "{missing}");

    let of_another = authority.revoke(7);
    fs::write(&list, of_another.der()).unwrap();
    let tls = open(&settings);
    assert_eq!(meet(&tls, &tls).await, Ok(()));
    let of_this = authority.revoke(0x8000_0001);
    fs::write(&list, of_this.der()).unwrap();
    assert!(meet(&tls, &tls).await.unwrap_err().contains("Revoked"));
    fs::write(&list, "damaged").unwrap();
    assert!(meet(&tls, &tls).await.is_err());
    fs::write(&list, of_another.pem().unwrap()).unwrap();
    assert_eq!(meet(&tls, &tls).await, Ok(()));
    fs::write(&list, of_this.pem().unwrap()).unwrap();
    assert!(meet(&tls, &tls).await.is_err());
    fs::write(&list, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").unwrap();
    assert!(PeerTls::open(&settings).err().unwrap().contains("no revocation list"));
}

#[tokio::test]
async fn an_authority_is_replaced_without_a_restart() {
    // Shows that the authorities and the pair are read again at both ends, and that a pair that
    // does not fit together leaves the old one in use until it does.
    let authority = Authority::new();
    let tls = open(&authority.settings(authority.sign("m", HERE, 1)));
    assert_eq!(meet(&tls, &tls).await, Ok(()));
    let next = Authority::new();
    let files = next.sign("m", HERE, 1);
    fs::copy(&files.cert, authority.path("m.pem")).unwrap();
    assert_eq!(meet(&tls, &tls).await, Ok(()));
    fs::copy(&files.key, authority.path("m.key")).unwrap();
    assert!(meet(&tls, &tls).await.is_err(), "signed by an authority that is not trusted yet");
    fs::copy(next.path("ca.pem"), authority.path("ca.pem")).unwrap();
    assert_eq!(meet(&tls, &tls).await, Ok(()));
}

fn self_signed(dir: &Path) -> PeerTlsSettings {
    PeerTlsSettings {
        common: TlsSettings {
            certificate: Certificate::SelfSigned {
                dir: dir.join("fixtures/peer"),
                hosts: vec!["192.0.2.1".into(), "localhost".into()],
                validity_years: 2,
            },
            trusted_ca_file: None,
            crl_file: None,
            allowed: AllowedNames::Any,
            protocol: TlsProtocol { versions: TlsVersions::Tls13, cipher_suites: vec![] },
        },
        dialing: None,
        check_remote_address: true,
    }
}

#[tokio::test]
async fn self_signed_members_meet_and_keep_their_certificates() {
    // Shows that two members that know nothing of each other encrypt, that a restart keeps the
    // pair, that the key is the owner's alone, and how long the certificate lasts.
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (open(&self_signed(one.path())), open(&self_signed(two.path())));
    assert_eq!(meet(&ours, &theirs).await, Ok(()));
    let dir = one.path().join("fixtures/peer");
    let pem = fs::read(dir.join("cert.pem")).unwrap();
    open(&self_signed(one.path()));
    assert_eq!(fs::read(dir.join("cert.pem")).unwrap(), pem);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(dir.join("key.pem")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let validity = block.parse_x509().unwrap().validity().clone();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
    assert_eq!(days, 2 * 365);
}

#[tokio::test]
async fn anyone_has_the_key_of_what_they_show() {
    // Proves that where every certificate is believed, one that somebody else has the key of is not,
    // in both versions of TLS.
    let provider = Arc::new(ring::default_provider());
    let shown = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = KeyPair::generate().unwrap();
    for version in [&TLS12, &TLS13] {
        for (key, is_taken) in [(&shown.signing_key, true), (&other, false)] {
            let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
            let key = provider.key_provider.load_private_key(key).unwrap();
            let shown = CertifiedKey::new(vec![shown.cert.der().clone()], key);
            let server = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
            let client = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone::with_key(provider.clone())))
                .with_no_client_auth();
            let (near, far) = tokio::io::duplex(1 << 16);
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let (dialed, _) = tokio::join!(
                TlsConnector::from(Arc::new(client)).connect(name, near),
                TlsAcceptor::from(Arc::new(server)).accept(far)
            );
            assert_eq!(dialed.is_ok(), is_taken, "{version:?}: {:?}", dialed.err());
        }
    }
}
