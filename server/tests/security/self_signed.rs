//! Certificates of the server's own making.

use std::fs;
use std::process::Command;

use crate::server::{BERTH, Place, berth, tell};

#[test]
fn auto_tls_makes_a_certificate_and_keeps_it() {
    // Shows that a server without files serves https, that clients may trust its certificate or
    // skip the check, that they may not by default, and that a restart shows the same one.
    let place = Place::new();
    let flags = ["--auto-tls".to_owned()];
    let cert = place.path("data/fixtures/client/cert.pem");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let _server = place.start(&berth(), &flags);
        let endpoint = place.endpoint();
        let etcdctl = |more: &[&str]| {
            let mut command = Command::new("etcdctl");
            command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]).args(more);
            tell(command.args(["--dial-timeout=10s", "--command-timeout=10s", "get", "k"]))
        };
        let ctl = |more: &[&str]| {
            tell(Command::new(BERTH).args(["ctl", "--endpoints", &endpoint, "get", "k"]).args(more))
        };
        let trust = ["--cacert", cert.to_str().unwrap()];
        let skip = ["--insecure-skip-tls-verify", "--insecure-transport=false"];
        for told in [etcdctl(&trust), etcdctl(&skip), ctl(&trust), ctl(&skip)] {
            assert!(told.is_ok(), "{told:?}");
        }
        // Whatever the machine trusts, it is not this.
        let untrusted = ctl(&["--cacert", place.authority.file().to_str().unwrap()]);
        assert!(untrusted.error.contains("certificate"), "{untrusted:?}");
        seen.push(fs::read(&cert).unwrap());
    }
    assert_eq!(seen[0], seen[1]);
}
