//! Sidecars that reach no endpoint at all: once registered, on their way out, and before they have
//! begun.

use std::path::PathBuf;

use api::etcdserverpb::{LeaseLeasesRequest, RangeRequest};
use tempfile::TempDir;
use testkit::{Clients, Proxy, Server, Weather, eventually, subject};

use crate::register::{HEALTH, INSTANCE, register, until_registered, until_status};
use crate::tool::{SOON_S, Tool, done, get};

/// The way to a server by two endpoints, both of which can be cut.
struct Ways([Proxy; 2]);

impl Ways {
    async fn to(server: &Server) -> Self {
        let target = format!("127.0.0.1:{}", server.client_port);
        Self([Proxy::start(target.clone()).await, Proxy::start(target).await])
    }

    fn endpoints(&self) -> String {
        let [one, other] = &self.0;
        format!("--endpoints={},{}", one.address(), other.address())
    }

    fn cut(&self) {
        self.0.iter().for_each(|way| way.set(Weather { stalled: true, ..Weather::default() }));
    }

    fn heal(&self) {
        self.0.iter().for_each(|way| way.set(Weather::default()));
    }
}

/// A server, the ways to it, and a place for what a sidecar's command leaves.
struct Scene {
    _server: Server,
    clients: Clients,
    ways: Ways,
    directory: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start(subject!(), &[]).await;
        let (clients, ways) = (server.clients(), Ways::to(&server).await);
        Self { _server: server, clients, ways, directory: TempDir::new().expect("a directory") }
    }

    /// There when the sidecar's command runs.
    fn started(&self) -> PathBuf {
        self.directory.path().join("started")
    }

    /// Its command ends with 7 when it is asked to.
    fn sidecar(&self, ttl: &str) -> Tool {
        let started = self.started();
        let command = format!(
            "trap 'exit 7' TERM; touch {}; while :; do sleep 0.05; done",
            started.display()
        );
        let flags = [ttl, "--drain=0s", "--", "sh", "-c", &command];
        Tool::berth(&register(&self.ways.endpoints(), &flags))
    }
}

async fn until_gone(clients: &Clients) {
    eventually("gone", SOON_S, async || match get(clients, INSTANCE).await {
        None => Ok(()),
        Some(_) => Err("still registered".to_owned()),
    })
    .await;
    assert_eq!(get(clients, HEALTH).await, None, "both go together");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_comes_back_when_a_cut_ends() {
    // Proves that an instance which no endpoint hears of for longer than its lease is gone, that its
    // sidecar goes on, and registers it again when one can be reached: under another lease, passing,
    // once; and that it can leave as ever.
    let scene = Scene::new().await;
    let Scene { clients, ways, .. } = &scene;
    let endpoints = ways.endpoints();
    let flags = ["--ttl=3s", "--check=exec:true", "--interval=100ms", "--timeout=30s"];
    let mut sidecar = Tool::berth(&register(&endpoints, &flags));
    for _ in 0..2 {
        until_status(clients, "passing").await;
        let before = until_registered(clients).await;
        ways.cut();
        until_gone(clients).await;
        ways.heal();
        assert_ne!(until_registered(clients).await, before, "{}", sidecar.log());
    }
    until_status(clients, "passing").await;
    assert_eq!(sidecar.terminate().await.code(), Some(0), "{}", sidecar.log());
    until_gone(clients).await;
    assert!(sidecar.log().contains("the lease is lost"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_ends_when_it_is_told() {
    // Proves that whoever cannot say farewell ends all the same, with its command's status, says so,
    // and leaves nothing behind that its lease does not take away.
    let scene = Scene::new().await;
    let (Scene { clients, ways, .. }, started) = (&scene, scene.started());
    let mut sidecar = scene.sidecar("--ttl=5s");
    until_registered(clients).await;
    let runs = async || started.exists().then_some(()).ok_or(sidecar.log());
    eventually("the command runs", SOON_S, runs).await;
    ways.cut();
    assert_eq!(sidecar.terminate().await.code(), Some(7), "{}", sidecar.log());
    let log = sidecar.log();
    assert!(log.contains("the store does not answer") && !log.contains("deregistered"), "{log}");
    // Nothing that it sent has arrived.
    until_gone(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_told_to_stop_before_it_has_a_lease_leaves_nothing() {
    // Proves that a sidecar ends at once whose first lease is under way, or asked for again and
    // again; and that no key is ever written, also when all that it sent arrives after its end.
    let scene = Scene::new().await;
    let (Scene { clients, ways, .. }, started) = (&scene, scene.started());
    let revision = async || {
        let request = RangeRequest { key: INSTANCE.into(), ..RangeRequest::default() };
        let answer = done(clients.clone().kv.range(request)).await;
        answer.header.expect("a header").revision
    };
    let before = revision().await;
    for is_retried in [false, true] {
        ways.cut();
        let mut sidecar = scene.sidecar("--ttl=3s");
        let is_asking = async || {
            let log = sidecar.log();
            let retried = log.contains("the store does not do what it is asked");
            if started.exists() && (retried || !is_retried) { Ok(()) } else { Err(log) }
        };
        eventually("a lease is asked for", SOON_S, is_asking).await;
        assert_eq!(sidecar.terminate().await.code(), Some(7), "{}", sidecar.log());
        assert!(!sidecar.log().contains("registered"), "{}", sidecar.log());
        std::fs::remove_file(&started).unwrap();
        ways.heal();
    }
    // Leases without keys may have been granted that nobody knows of; they run out.
    let none_left = async || {
        let leases = done(clients.clone().lease.lease_leases(LeaseLeasesRequest {})).await.leases;
        if leases.is_empty() { Ok(()) } else { Err(format!("{leases:?}")) }
    };
    eventually("no lease is left", SOON_S, none_left).await;
    assert_eq!(revision().await, before, "nothing was ever written");
}
