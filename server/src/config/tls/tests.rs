use std::path::PathBuf;

use super::*;
use crate::config::{Invocation, Settings, load};

fn settings(line: &str) -> Result<Settings, String> {
    let arguments = line.split_whitespace().map(Into::into).collect();
    load(arguments, &[], Invocation::default()).map_err(|stop| format!("{stop:?}"))
}

fn refusal(line: &str) -> String {
    settings(line).unwrap_err()
}

const PAIR: &str = "--cert-file c --key-file k";
const PEER_PAIR: &str = "--peer-cert-file c --peer-key-file k";

#[test]
fn no_flag_is_no_tls() {
    // Shows that nothing is encrypted unless it was asked for.
    let settings = settings("").unwrap();
    assert!(settings.client_tls.is_none() && settings.peer_tls.is_none());
}

#[test]
fn peers_are_told_apart_by_name_or_host() {
    // Shows both kinds of allowed names, that they exclude each other, and that neither is taken
    // where nobody would look at a certificate.
    let allowed = |line: &str| {
        let line = format!("{PEER_PAIR} --peer-trusted-ca-file ca {line}");
        settings(&line).map(|settings| settings.peer_tls.unwrap().common.allowed)
    };
    let names = AllowedNames::CommonNames(vec!["a".into(), "b".into()]);
    assert_eq!(allowed("--peer-cert-allowed-cn a,b"), Ok(names));
    let hosts = AllowedNames::Hostnames(vec!["a.b".into()]);
    assert_eq!(allowed("--peer-cert-allowed-hostname a.b"), Ok(hosts));
    assert_eq!(allowed(""), Ok(AllowedNames::Any));
    let both = allowed("--peer-cert-allowed-cn a --peer-cert-allowed-hostname b").unwrap_err();
    assert!(both.contains("mutually exclusive"), "{both}");
    for flag in ["peer-cert-allowed-cn", "peer-cert-allowed-hostname", "peer-crl-file"] {
        let line = refusal(&format!("{PEER_PAIR} --{flag} x"));
        assert!(line.contains(flag) && line.contains("--peer-trusted-ca-file"), "{line}");
    }
}

#[test]
fn clients_are_checked_as_they_were_asked_to_be() {
    // Shows that the common name counts with --client-cert-auth alone, as in etcd, and that lists
    // without an authority are refused.
    let common_name = |line: &str| {
        let line = format!("{PAIR} --trusted-ca-file ca {line}");
        settings(&line).unwrap().client_tls.unwrap().common_name_is_user
    };
    assert!(common_name("--client-cert-auth"));
    assert!(!common_name(""));
    for flag in ["client-crl-file", "client-cert-allowed-hostname"] {
        let line = refusal(&format!("{PAIR} --{flag} x"));
        assert!(line.contains(flag) && line.contains("needs --trusted-ca-file"), "{line}");
    }
    assert!(refusal(&format!("{PAIR} --client-cert-auth")).contains("--trusted-ca-file"));
}

#[test]
fn certificates_of_ones_own_are_made_for_the_listeners() {
    // Shows where auto-TLS keeps them, for which hosts and how long, that given files win over
    // it, and what it cannot be combined with.
    let made = settings("--auto-tls --peer-auto-tls --self-signed-cert-validity 3 --data-dir d");
    let made = made.unwrap();
    let dir = |side: &str| PathBuf::from("d/fixtures").join(side);
    let localhost = |side| Certificate::SelfSigned {
        dir: dir(side),
        hosts: vec!["localhost".to_owned()],
        validity_years: 3,
    };
    assert_eq!(made.client_tls.unwrap().common.certificate, localhost("client"));
    assert_eq!(made.peer_tls.unwrap().common.certificate, localhost("peer"));
    let given = settings(&format!("--auto-tls {PAIR}")).unwrap();
    assert!(matches!(given.client_tls.unwrap().common.certificate, Certificate::Files(_)));
    assert!(refusal("--auto-tls --trusted-ca-file ca").contains("--trusted-ca-file"));
    assert!(refusal("--auto-tls --self-signed-cert-validity 0").contains("validity"));
    assert!(settings("--self-signed-cert-validity 0").is_ok());
}

#[test]
fn half_a_pair_is_refused_in_etcds_words() {
    // Shows the lines for each pair of files, and for a secure peer address without any.
    assert!(refusal("--peer-cert-file c").contains("must both be present[key: , cert: c]"));
    let half = format!("{PEER_PAIR} --peer-client-key-file k");
    assert!(refusal(&half).contains("ClientKeyFile and ClientCertFile must both"));
    let https = "--listen-peer-urls https://127.0.0.1:1";
    assert!(refusal(https).contains("KeyFile and CertFile are not presented"));
}

#[test]
fn versions_and_suites_have_etcds_names() {
    // Shows what is chosen, Go's older names, and the refusals: unknown, weak, or of no use.
    let protocol = |line: &str| {
        settings(&format!("{PAIR} {line}")).map(|s| s.client_tls.unwrap().common.protocol)
    };
    assert_eq!(protocol("").unwrap().versions, TlsVersions::Both);
    assert_eq!(protocol("--tls-min-version TLS1.3").unwrap().versions, TlsVersions::Tls13);
    assert_eq!(protocol("--tls-max-version TLS1.2").unwrap().versions, TlsVersions::Tls12);
    assert!(protocol("--tls-min-version TLS1.3 --tls-max-version TLS1.2").is_err());
    let old = protocol("--cipher-suites TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305").unwrap();
    assert_eq!(old.cipher_suites, ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
    let weak = protocol("--cipher-suites TLS_RSA_WITH_AES_128_CBC_SHA").unwrap_err();
    let line = "unexpected TLS cipher suite \\\"TLS_RSA_WITH_AES_128_CBC_SHA\\\"";
    assert!(weak.contains(line), "{weak}");
    let only_13 = "--tls-min-version TLS1.3 --cipher-suites TLS_AES_128_GCM_SHA256";
    assert!(protocol(only_13).unwrap_err().contains("cannot be configured"));
    let none_left = "--tls-max-version TLS1.2 --cipher-suites TLS_AES_128_GCM_SHA256";
    assert!(protocol(none_left).unwrap_err().contains("leaves no suite"));
}
