//! `berth ctl` as a client with TLS.

use std::process::Command;

use crate::server::{BERTH, Place, Told, berth, tell};

fn ctl(endpoint: &str, words: &[&str]) -> Told {
    tell(Command::new(BERTH).args(["ctl", "--endpoints", endpoint]).args(words).args(["get", "k"]))
}

#[test]
fn the_scheme_and_the_flags_choose_tls() {
    // Shows that an endpoint without a scheme is secure when a file or a flag says so, that a
    // scheme wins over both, and that ETCDCTL_CACERT is as good as --cacert.
    let place = Place::new();
    let _server = place.start(&berth(), &place.with_certificate());
    let ca = place.authority.file();
    let ca = ca.to_str().unwrap();
    let bare = format!("127.0.0.1:{}", place.client);
    let (http, https) = (format!("http://{bare}"), format!("https://{bare}"));
    assert!(ctl(&bare, &["--cacert", ca]).is_ok());
    assert!(ctl(&https, &["--cacert", ca]).is_ok());
    assert!(ctl(&bare, &["--insecure-transport=false", "--insecure-skip-tls-verify"]).is_ok());
    assert!(!ctl(&bare, &[]).is_ok());
    assert!(!ctl(&http, &["--cacert", ca]).is_ok());
    let mut by_environment = Command::new(BERTH);
    by_environment.env("ETCDCTL_CACERT", ca).args(["ctl", "--endpoints", &bare, "get", "k"]);
    assert!(tell(&mut by_environment).is_ok());
}

#[test]
fn wrong_files_are_named() {
    // Shows half a pair, a missing file, and a server whose certificate nobody trusts.
    let place = Place::new();
    let _server = place.start(&berth(), &place.with_certificate());
    let endpoint = place.endpoint();
    let half = ctl(&endpoint, &["--cert", "c.pem"]);
    assert!(half.error.contains("KeyFile and CertFile must both be present"), "{half:?}");
    let missing = ctl(&endpoint, &["--cacert", "/none.pem"]);
    assert!(missing.error.contains("/none.pem"), "{missing:?}");
    let other = crate::certificates::Authority::new(place.dir.path(), "other");
    let untrusted = ctl(&endpoint, &["--cacert", other.file().to_str().unwrap()]);
    assert!(untrusted.error.contains("UnknownIssuer"), "{untrusted:?}");
}
