//! Clients over TLS, with certificates made for the occasion.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::harness::{Place, Running, failure, run};

/// An authority that signs for 127.0.0.1, and its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Writes a certificate and its key.
    fn sign(&self, cert: &Path, key: &Path) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let pair = KeyPair::generate().unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
        fs::write(cert, params.signed_by(&pair, &self.issuer).unwrap().pem()).unwrap();
    }
}

/// A place whose clients need TLS.
struct Secure {
    place: Place,
    authority: Authority,
    cert: PathBuf,
    key: PathBuf,
}

impl Secure {
    fn new() -> Self {
        let place = Place::new();
        let dir = place.dir.path().to_owned();
        let authority = Authority::new(&dir, "first");
        let (cert, key) = (dir.join("server.pem"), dir.join("server.key"));
        authority.sign(&cert, &key);
        Self { place, authority, cert, key }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.place.client)
    }

    fn command(&self) -> Command {
        let mut command = self.place.command();
        command
            .arg(format!("--listen-client-urls={}", self.url()))
            .arg(format!("--advertise-client-urls={}", self.url()))
            .arg(format!("--cert-file={}", self.cert.display()))
            .arg(format!("--key-file={}", self.key.display()));
        command
    }

    /// Whether Debian's etcdctl can write, trusting `authority`, with these further flags.
    fn can_put(&self, authority: &Authority, flags: &[&Path]) -> bool {
        let mut etcdctl = Command::new("etcdctl");
        etcdctl
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url(), "--command-timeout=5s", "--dial-timeout=5s"])
            .arg("--cacert")
            .arg(&authority.file);
        for (name, file) in ["--cert", "--key"].iter().zip(flags) {
            etcdctl.arg(name).arg(file);
        }
        etcdctl.args(["put", "key", "value"]);
        etcdctl.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        run(&mut etcdctl).status.success()
    }
}

#[test]
fn clients_speak_tls_and_certificates_are_renewed() {
    // Shows that etcdctl works over https, that it notices a wrong authority, and that files
    // replaced under a running server are used for the next connection.
    let secure = Secure::new();
    let _server = Running::start(&mut secure.command());
    let second = Authority::new(secure.place.dir.path(), "second");
    assert!(secure.can_put(&secure.authority, &[]));
    assert!(!secure.can_put(&second, &[]));
    second.sign(&secure.cert, &secure.key);
    assert!(secure.can_put(&second, &[]));
    assert!(!secure.can_put(&secure.authority, &[]));
}

#[test]
fn clients_without_a_certificate_are_turned_away() {
    // Shows --client-cert-auth: one's own authority opens, none and another's do not.
    let secure = Secure::new();
    let dir = secure.place.dir.path();
    let ca = format!("--trusted-ca-file={}", secure.authority.file.display());
    let _server = Running::start(secure.command().args(["--client-cert-auth", &ca]));
    let (cert, key) = (dir.join("client.pem"), dir.join("client.key"));
    secure.authority.sign(&cert, &key);
    assert!(secure.can_put(&secure.authority, &[&cert, &key]));
    assert!(!secure.can_put(&secure.authority, &[]));
    Authority::new(dir, "other").sign(&cert, &key);
    assert!(!secure.can_put(&secure.authority, &[&cert, &key]));
}

#[test]
fn discovery_speaks_tls() {
    // Shows that the commands of discovery take the same files as etcdctl, trust nobody else, and
    // show their own certificate.
    let secure = Secure::new();
    let dir = secure.place.dir.path();
    let ca = format!("--trusted-ca-file={}", secure.authority.file.display());
    let _server = Running::start(secure.command().args(["--client-cert-auth", &ca]));
    let (cert, key) = (dir.join("client.pem"), dir.join("client.key"));
    secure.authority.sign(&cert, &key);
    let services = |authority: &Authority| {
        let mut berth = Command::new(env!("CARGO_BIN_EXE_berth"));
        berth.args(["services", "-w", "json", "--endpoints", &secure.url(), "--cacert"]);
        berth.arg(&authority.file).arg("--cert").arg(&cert).arg("--key").arg(&key);
        berth.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        run(&mut berth)
    };
    let shown = services(&secure.authority);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "[]", "{shown:?}");
    let other = Authority::new(dir, "other");
    let refused = services(&other);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate"), "{refused:?}");
}

#[test]
fn wrong_tls_settings_are_one_line() {
    // Shows https without a certificate, half a pair, a file that holds none, and nobody to check
    // clients against.
    let secure = Secure::new();
    let https = format!("--listen-client-urls={}", secure.url());
    let refused = |command: &mut Command| {
        let (code, stderr) = failure(command);
        assert_eq!(code, 1, "{stderr}");
        stderr.lines().last().unwrap_or_default().to_owned()
    };
    let without = refused(secure.place.command().arg(&https));
    assert!(without.contains("--cert-file, --key-file) must be provided"), "{without}");
    let half = refused(secure.command().arg("--key-file="));
    assert!(half.contains("must both be present"), "{half}");
    let unchecked = refused(secure.command().arg("--client-cert-auth"));
    assert!(unchecked.contains("--trusted-ca-file"), "{unchecked}");
    fs::write(&secure.cert, "no certificate").unwrap();
    let empty = refused(&mut secure.command());
    assert!(empty.contains("server.pem"), "{empty}");
}
