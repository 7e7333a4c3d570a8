//! Users by certificate.

use testkit::Program;

use crate::certificates::Pair;
use crate::server::{Place, Told, berth};

/// What users with and without a certificate of their name are told, one line after the other.
fn transcript(program: &Program) -> Vec<(String, Told)> {
    let place = Place::new();
    let _server = place.start(program, &place.with_client_certificates());
    let names = ["root", "ann", "nobody", ""];
    let pairs: Vec<(&str, Pair)> = names
        .iter()
        .zip(10..)
        .map(|(name, serial)| (*name, place.authority.sign(name, serial)))
        .collect();
    let mut told = Vec::new();
    let mut say = |who: &str, line: &str| {
        let (_, pair) = pairs.iter().find(|(name, _)| *name == who).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        told.push((format!("{who}: {line}"), place.etcdctl(Some(pair), &words)));
    };
    for line in [
        "user add root:rootpw",
        "user add ann:annpw",
        "role add root",
        "role add r",
        "role grant-permission r readwrite k",
        "user grant-role ann r",
        "user grant-role root root",
        "auth enable",
    ] {
        say("nobody", line);
    }
    for who in names {
        for line in ["put k v", "get k", "put other v", "user list", "user get ann", "role get r"] {
            say(who, line);
        }
    }
    // A token wins over the certificate, and a wrong password over both.
    say("ann", "--user=root:rootpw user list");
    say("root", "--user=ann:annpw put other v");
    say("nobody", "--user=ann:annpw put k v");
    say("root", "--user=ann:wrong put k v");
    say("root", "auth disable");
    say("nobody", "get k");
    told
}

#[test]
fn a_certificates_common_name_is_its_user() {
    // Shows that each call is answered as etcd answers it: with rights, without, as admin, for
    // names that no user has and for a certificate without a name, and beside a token.
    let (ours, theirs) = (transcript(&berth()), transcript(&Program::etcd()));
    assert_eq!(ours, theirs);
    let of = |line: &str| &ours.iter().find(|(said, _)| said == line).unwrap().1;
    assert!(of("ann: put k v").is_ok() && of("root: user list").is_ok());
    assert!(of("ann: --user=root:rootpw user list").is_ok());
    assert!(of("nobody: get k").error.contains("permission denied"));
    assert!(!of("root: --user=ann:annpw put other v").is_ok());
}

#[test]
fn without_client_cert_auth_a_name_is_nobodys() {
    // Shows that --trusted-ca-file alone asks for certificates and believes no name, as in etcd.
    for program in [berth(), Program::etcd()] {
        let place = Place::new();
        let mut flags = place.with_client_certificates();
        flags.retain(|flag| flag != "--client-cert-auth");
        let _server = place.start(&program, &flags);
        let root = place.authority.sign("root", 10);
        for line in
            ["user add root:pw", "role add root", "user grant-role root root", "auth enable"]
        {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(place.etcdctl(Some(&root), &words).is_ok(), "{line}");
        }
        assert!(!place.etcdctl(None, &["get", "k"]).is_ok());
        let told = place.etcdctl(Some(&root), &["get", "k"]);
        assert!(told.error.contains("user name is empty"), "{told:?}");
    }
}
