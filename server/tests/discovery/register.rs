//! `berth register`: there while it is well, gone when it is not, back by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::{Clients, Proxy, Server, Weather, eventually, free_port, subject};

use crate::tool::{SOON_S, Tool, berth, delete, document, endpoints, get};

pub(crate) const INSTANCE: &str = "/services/web/1";
pub(crate) const HEALTH: &str = "/health/web/1";
/// Of another service.
const OTHER: &str = "/services/db/1";
/// When a lease of 10 seconds that nobody renews is gone.
const LEASE_AND_SOME: Duration = Duration::from_secs(17);

/// Arguments of a sidecar for instance 1 of web.
pub(crate) fn register<'a>(endpoints: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args =
        vec!["register", endpoints, "--service=web", "--instance=1", "--address=10.0.0.7"];
    args.push("--port=8080");
    args.extend(more);
    args
}

async fn status(clients: &Clients) -> Result<String, String> {
    let health = document(clients, HEALTH).await?;
    Ok(health["status"].as_str().unwrap_or_default().to_owned())
}

pub(crate) async fn until_status(clients: &Clients, wanted: &str) {
    eventually(wanted, SOON_S, async || match status(clients).await? {
        status if status == wanted => Ok(()),
        status => Err(status),
    })
    .await;
}

pub(crate) async fn until_registered(clients: &Clients) -> i64 {
    let registered = async || get(clients, INSTANCE).await.ok_or("not registered".to_owned());
    eventually("registered", SOON_S, registered).await.lease
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_found_while_it_is_well() {
    // Proves the documents of the layout, that health follows the check by its thresholds, that
    // `berth services` shows all of it, and that SIGTERM takes it away long before the lease ends.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let marker = tempfile::NamedTempFile::new().unwrap();
    let well = marker.path().to_path_buf();
    let check = format!("--check=exec:test -e {}", well.display());
    let flags = ["--ttl=60s", "--tag=blue", "--meta=zone=b", "--weight=5", &check];
    let quick = ["--interval=50ms", "--timeout=30s", "--rise=2", "--fall=2"];
    let endpoints = endpoints(&server);
    let mut sidecar = Tool::berth(&register(&endpoints, &[&flags[..], &quick[..]].concat()));

    until_status(&clients, "passing").await;
    let instance = document(&clients, INSTANCE).await.unwrap();
    assert_eq!(instance["address"], "10.0.0.7");
    assert_eq!(instance["port"], 8080);
    assert_eq!(instance["tags"][0], "blue");
    assert_eq!(instance["metadata"]["zone"], "b");
    assert_eq!(instance["weight"], 5);
    let lease = get(&clients, INSTANCE).await.unwrap().lease;
    assert!(lease != 0 && get(&clients, HEALTH).await.unwrap().lease == lease);

    let shown = berth(&["services", &endpoints]).await.stdout;
    for word in ["web", "10.0.0.7:8080", "passing", "blue"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let shown = berth(&["services", "web", &endpoints, "-w", "json"]).await.stdout;
    let rows: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!((1..=60).contains(&rows[0]["ttl_left_s"].as_i64().unwrap()), "{shown}");

    std::fs::remove_file(&well).unwrap();
    until_status(&clients, "critical").await;
    assert!(berth(&["services", &endpoints]).await.stdout.contains("test -e"), "the reason");
    std::fs::write(&well, "").unwrap();
    until_status(&clients, "passing").await;

    let asked = Instant::now();
    assert_eq!(sidecar.terminate().await.code(), Some(0), "{}", sidecar.log());
    assert_eq!(get(&clients, INSTANCE).await, None);
    assert_eq!(get(&clients, HEALTH).await, None);
    assert!(asked.elapsed() < Duration::from_secs(50), "not by the lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_registered_as_long_as_it_runs() {
    // Proves that the command runs on after it was deregistered (nobody is cut off), that it is
    // then asked to end, at once if a second signal comes, whichever, and that its status is the
    // sidecar's, also when it ends by itself.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let script = "trap 'exit 7' TERM; while :; do sleep 0.05; done";
    let gone = async || match get(&clients, INSTANCE).await {
        None => Ok(()),
        Some(_) => Err("still registered".to_owned()),
    };
    // Signals that a terminal sends; this test may itself have been started with one ignored.
    let flags = ["--drain=10m", "--", "sh", "-c", script];
    let heard = ["--default-signal=HUP", env!("CARGO_BIN_EXE_berth")];
    let command = [&heard[..], &register(&endpoints, &flags)].concat();
    let mut sidecar = Tool::start(Path::new("/usr/bin/env"), &command);
    until_registered(&clients).await;
    sidecar.signal("HUP");
    eventually("deregistered", SOON_S, gone).await;
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", sidecar.pid()));
    assert!(!children.unwrap().is_empty(), "the command has ended before its clients knew");
    sidecar.signal("QUIT");
    assert_eq!(sidecar.ended().await.code(), Some(7), "{}", sidecar.log());

    let flags = ["--drain=100ms", "--", "sh", "-c", script];
    let mut sidecar = Tool::berth(&register(&endpoints, &flags));
    until_registered(&clients).await;
    assert_eq!(sidecar.terminate().await.code(), Some(7), "{}", sidecar.log());
    eventually("deregistered", SOON_S, gone).await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("end");
    let script = format!("until test -e {}; do sleep 0.05; done; exit 3", file.display());
    let mut sidecar = Tool::berth(&register(&endpoints, &["--", "sh", "-c", &script]));
    until_registered(&clients).await;
    std::fs::write(&file, "").unwrap();
    assert_eq!(sidecar.ended().await.code(), Some(3), "{}", sidecar.log());
    assert_eq!(get(&clients, INSTANCE).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sidecar_notices_and_comes_back() {
    // Proves that an instance whose sidecar is stopped for longer than its lease is gone, and
    // registered again under another lease as soon as it goes on.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let sidecar = Tool::berth(&register(&endpoints, &["--ttl=2s", "--check=exec:true"]));
    until_status(&clients, "passing").await;
    let before = until_registered(&clients).await;
    sidecar.signal("STOP");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let gone = async || match get(&clients, INSTANCE).await {
        None => Ok(()),
        Some(_) => Err("still there".to_owned()),
    };
    eventually("expired", SOON_S, gone).await;
    assert_eq!(get(&clients, HEALTH).await, None, "both go together");
    sidecar.signal("CONT");
    let after = until_registered(&clients).await;
    assert_ne!(after, before);
    until_status(&clients, "passing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sidecar_leaves_its_name_to_its_replacement() {
    // Proves that one that comes back after its lease was lost does not evict the instance that was
    // started in its place, and ends, with its command, saying why.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let command = ["--ttl=2s", "--", "sh", "-c", "sleep 600 & wait"];
    let mut first = Tool::berth(&register(&endpoints, &command));
    until_registered(&clients).await;
    let children = format!("/proc/{0}/task/{0}/children", first.pid());
    let command = std::fs::read_to_string(children).unwrap();
    first.signal("STOP");
    let gone = async || match get(&clients, INSTANCE).await {
        None => Ok(()),
        Some(_) => Err("still there".to_owned()),
    };
    eventually("expired", SOON_S, gone).await;
    let mut second = Tool::berth(&register(&endpoints, &["--ttl=60s"]));
    let lease = until_registered(&clients).await;
    first.signal("CONT");
    assert_eq!(first.ended().await.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("Error: ") && first.log().contains("--instance"));
    assert!(!Path::new("/proc").join(command.trim()).exists());
    assert_eq!(until_registered(&clients).await, lease, "the second one's is left alone");
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_to_the_keys_is_noticed() {
    // Proves that deleted keys are written again, that a revoked lease is replaced, and that of two
    // instances with one name the first stands down rather than fight.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let mut first =
        Tool::berth(&register(&endpoints, &["--ttl=60s", "--check=exec:true", "--interval=1h"]));
    until_status(&clients, "passing").await;
    for key in [INSTANCE, HEALTH] {
        delete(&clients, key).await;
        let back = async || get(&clients, key).await.map(|_| ()).ok_or("not back".to_owned());
        eventually(key, SOON_S, back).await;
    }
    let lease = until_registered(&clients).await;
    let revoke = api::etcdserverpb::LeaseRevokeRequest { id: lease };
    crate::tool::done(clients.clone().lease.lease_revoke(revoke)).await;
    assert_ne!(until_registered(&clients).await, lease);

    let mut second = Tool::berth(&register(&endpoints, &["--ttl=60s"]));
    assert_eq!(first.ended().await.code(), Some(1));
    assert!(first.log().contains("--instance"), "{}", first.log());
    assert!(get(&clients, INSTANCE).await.is_some(), "the second one's is left alone");
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_never_flaps_because_a_member_is_away() {
    // Proves that the registration is not seen to go while one endpoint does not answer, nor while
    // the only one is killed and comes back: no key of it is ever deleted or written again; nor that
    // of one whose only connection died without a word, where new ones work.
    let mut server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let stalling = Proxy::start(format!("127.0.0.1:{}", server.client_port)).await;
    let dead = free_port();
    let endpoints =
        format!("--endpoints={},127.0.0.1:{dead},{}", stalling.address(), server.endpoint());
    let ttl = ["--ttl=15s", "--check=exec:true", "--timeout=30s"];
    let sidecar = Tool::berth(&register(&endpoints, &ttl));
    until_status(&clients, "passing").await;
    let before = get(&clients, INSTANCE).await.unwrap();
    let forgetting = Proxy::start(format!("127.0.0.1:{}", server.client_port)).await;
    let only = format!("--endpoints={}", forgetting.address());
    let other = ["register", &only, "--service=db", "--instance=1", "--address=10.0.0.7"];
    let other = Tool::berth(&[&other[..], &["--port=80", "--ttl=15s"]].concat());
    let registered = async || get(&clients, OTHER).await.ok_or("not registered".to_owned());
    let other_before = eventually("registered", SOON_S, registered).await;
    stalling.set(Weather { stalled: true, ..Weather::default() });
    forgetting.forget();
    tokio::time::sleep(LEASE_AND_SOME).await;
    assert_eq!(get(&clients, INSTANCE).await.as_ref(), Some(&before), "{}", sidecar.log());
    assert_eq!(get(&clients, OTHER).await, Some(other_before), "{}", other.log());
    server.kill();
    server.restart().await;
    tokio::time::sleep(LEASE_AND_SOME).await;
    assert_eq!(get(&server.clients(), INSTANCE).await, Some(before), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_check_and_the_watched_table_work() {
    // Proves http, tcp and grpc checks against a server that speaks all three (the store), that all
    // must pass, and that `berth services --watch` follows.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let address = format!("127.0.0.1:{}", server.client_port);
    let checks = [
        format!("http://{address}/health"),
        format!("tcp://{address}"),
        format!("grpc://{address}"),
    ];
    let checks: Vec<String> = checks.iter().map(|check| format!("--check={check}")).collect();
    let patient = std::iter::once("--timeout=30s");
    let checks: Vec<&str> = checks.iter().map(String::as_str).chain(patient).collect();
    let shown = Tool::berth(&["services", &endpoints, "--watch", "-w", "json"]);
    let table = async |word: &str| {
        let last = async || match shown.log().lines().last() {
            Some(line) if line.contains(word) => Ok(()),
            line => Err(format!("{line:?}")),
        };
        eventually(word, SOON_S, last).await;
    };
    table("[]").await;
    let mut sidecar = Tool::berth(&register(&endpoints, &checks));
    until_status(&clients, "passing").await;
    table("\"passing\"").await;
    sidecar.terminate().await;
    table("[]").await;
    let dead = format!("--check=grpc://127.0.0.1:{}", free_port());
    let _sidecar = Tool::berth(&register(&endpoints, &[&checks[..], &[&dead]].concat()));
    until_status(&clients, "critical").await;
    table("Connection refused").await;
}

const MADE: &str = "certificates can be made and written";

/// A certificate for 127.0.0.1, its key and whoever signed it, as files in `directory`.
fn certificates(directory: &Path) -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect(MADE);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect(MADE)).expect(MADE);
    let key = KeyPair::generate().expect(MADE);
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect(MADE);
    let signed = params.signed_by(&key, &authority).expect(MADE);
    let files = [("cert", signed.pem()), ("key", key.serialize_pem()), ("ca", authority.pem())];
    files.map(|(name, text)| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect(MADE);
        path.display().to_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_over_tls_are_checked_and_their_certificates_too() {
    // Proves that a check over TLS passes with the authority that signed, or when told to trust
    // anybody, that the system's authorities are asked otherwise, and that it says why it fails.
    let directory = tempfile::tempdir().unwrap();
    let [cert, key, ca] = certificates(directory.path());
    let mut server = Server::create(subject!(), &[]);
    let (port, secure) = (server.client_port, free_port());
    server.add_flags(&[
        format!("--listen-client-urls=http://127.0.0.1:{port},https://127.0.0.1:{secure}"),
        format!("--cert-file={cert}"),
        format!("--key-file={key}"),
    ]);
    server.restart().await;
    let clients = server.clients();
    let endpoints = endpoints(&server);
    let check = format!("--check=https://127.0.0.1:{secure}/health");
    let ca = format!("--check-cacert={ca}");
    for (more, wanted) in
        [(&[ca.as_str()][..], "passing"), (&["--check-insecure"], "passing"), (&[], "critical")]
    {
        let patient = [&check, "--timeout=30s", "--interval=100ms"];
        let mut sidecar = Tool::berth(&register(&endpoints, &[&patient[..], more].concat()));
        eventually(wanted, SOON_S, async || {
            let health = document(&clients, HEALTH).await?;
            let is_told = wanted == "passing" || health["output"].to_string().contains("https://");
            if health["status"] == wanted && is_told { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
        sidecar.terminate().await;
    }
    let missing = ["--check-cacert=/no/such", &check];
    let refused = berth(&register(&endpoints, &missing)).await;
    assert_eq!(refused.code, Some(128), "{refused:?}");
    assert!(refused.stderr.contains("/no/such"), "{refused:?}");
}

#[tokio::test]
async fn wrong_flags_are_refused_in_one_line() {
    // Proves that nothing is registered that could not be found, and that the line says why.
    for (flags, word) in [
        (["--service=Web", "--port=80"], "DNS"),
        (["--service=web", "--port=70000"], "70000"),
        (["--service=web", "--check=ftp://x"], "exec:"),
        (["--service=web", "--ttl=1500ms"], "whole seconds"),
    ] {
        let mut args = vec!["register", "--address=10.0.0.7"];
        args.extend(flags);
        if !flags[1].starts_with("--port") {
            args.push("--port=80");
        }
        let refused = berth(&args).await;
        assert_eq!(refused.code, Some(128), "{refused:?}");
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
}
