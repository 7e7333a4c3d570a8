//! Three members: encrypted among themselves, and of one mind about tokens.

use std::time::{Duration, Instant};

use testkit::Program;

use crate::certificates::Pair;
use crate::server::{Place, Running, berth, flag};
use crate::tokens::Users;

const PATIENCE: Duration = Duration::from_secs(60);
const SIZE: usize = 3;

/// The addresses of three members, before any of them runs.
struct Cluster {
    place: Place,
    clients: Vec<u16>,
    peers: Vec<u16>,
    scheme: &'static str,
}

impl Cluster {
    fn new(scheme: &'static str) -> Self {
        let ports = || (0..SIZE).map(|_| testkit::free_port()).collect();
        Self { place: Place::new(), clients: ports(), peers: ports(), scheme }
    }

    fn client_url(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}", self.clients[n])
    }

    fn peer_url(&self, n: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.peers[n])
    }

    /// Starts member `n`; does not wait.
    fn launch(&self, program: &Program, n: usize, more: &[String]) -> Running {
        let all: Vec<String> = (0..SIZE).map(|n| format!("m{n}={}", self.peer_url(n))).collect();
        let mut flags = vec![
            format!("--name=m{n}"),
            format!("--data-dir={}", self.place.path(&format!("data{n}")).display()),
            format!("--listen-client-urls={}", self.client_url(n)),
            format!("--advertise-client-urls={}", self.client_url(n)),
            format!("--listen-peer-urls={}", self.peer_url(n)),
            format!("--initial-advertise-peer-urls={}", self.peer_url(n)),
            format!("--initial-cluster={}", all.join(",")),
            "--bcrypt-cost=4".to_owned(),
        ];
        flags.extend_from_slice(more);
        self.place.launch(program, &format!("log{n}"), &flags)
    }

    fn users(&self, n: usize) -> Users {
        Users::at(&self.client_url(n))
    }

    fn certificate(&self, pair: &Pair) -> Vec<String> {
        vec![
            flag("peer-cert-file", &pair.cert),
            flag("peer-key-file", &pair.key),
            flag("peer-trusted-ca-file", &self.place.authority.file()),
            "--peer-client-cert-auth".to_owned(),
            "--peer-cert-allowed-cn=member".to_owned(),
        ]
    }

    /// Writes through member `n` until it works.
    async fn wait_for(&self, n: usize, running: &mut Running) {
        let start = Instant::now();
        loop {
            let said = self.users(n).put("ready", "").await;
            if said.is_ok() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{said:?}\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_over_tls() {
    // Shows three members with certificates of one authority, that each can write, and that none
    // is heard whose certificate bears another name.
    let cluster = Cluster::new("https");
    let member = cluster.certificate(&cluster.place.authority.sign("member", 11));
    let stranger = cluster.certificate(&cluster.place.authority.sign("stranger", 12));
    let mut running: Vec<Running> = Vec::new();
    for (n, flags) in [&member, &member, &stranger].into_iter().enumerate() {
        running.push(cluster.launch(&berth(), n, flags));
    }
    for (n, running) in running.iter_mut().enumerate().take(2) {
        cluster.wait_for(n, running).await;
    }
    assert!(cluster.users(2).put("k", "").await.is_err());
    // It may have asked either, or both.
    let refused = "\\\"stranger\\\" bears none of the allowed names";
    let start = Instant::now();
    while running.iter_mut().take(2).all(|member| !member.log().contains(refused)) {
        assert!(start.elapsed() < PATIENCE, "{}\n{}", running[0].log(), running[1].log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    drop(running.pop());
    running.push(cluster.launch(&berth(), 2, &member));
    cluster.wait_for(2, &mut running[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_certificates_of_their_own_meet() {
    // Shows --peer-auto-tls: three members that know nothing of each other's certificates.
    let cluster = Cluster::new("https");
    let flags = ["--peer-auto-tls".to_owned()];
    let mut running: Vec<Running> =
        (0..SIZE).map(|n| cluster.launch(&berth(), n, &flags)).collect();
    for (n, running) in running.iter_mut().enumerate() {
        cluster.wait_for(n, running).await;
        assert!(cluster.place.path(&format!("data{n}/fixtures/peer/cert.pem")).exists());
    }
}

/// Three members in the clear, all ready, and a client of each; auth is on.
async fn with_auth(cluster: &Cluster) -> (Vec<Running>, Vec<Users>) {
    let mut running: Vec<Running> = (0..SIZE).map(|n| cluster.launch(&berth(), n, &[])).collect();
    for (n, running) in running.iter_mut().enumerate() {
        cluster.wait_for(n, running).await;
    }
    let mut users: Vec<Users> = (0..SIZE).map(|n| cluster.users(n)).collect();
    users[0].enable().await;
    (running, users)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_token_ends_it_at_every_member() {
    // Shows that a token given by one member is taken by all, and that a new password, set at one,
    // ends it at all, and no other user's.
    let cluster = Cluster::new("http");
    let (_running, mut users) = with_auth(&cluster).await;
    let root = users[1].token("root", "rootpw").await.unwrap();
    let ann = users[2].token("ann", "annpw").await.unwrap();
    for users in &mut users {
        assert_eq!(users.get("k", Some(&ann)).await, Ok(()));
    }
    assert_eq!(users[0].change_password("ann", "new", &root).await, Ok(()));
    for users in &mut users {
        let start = Instant::now();
        loop {
            match users.get("k", Some(&ann)).await {
                Ok(()) => assert!(start.elapsed() < PATIENCE, "the token still lives"),
                Err(refusal) => break assert!(refusal.contains("invalid auth token"), "{refusal}"),
            }
        }
        assert_eq!(users.list(&root).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lags_waits_for_the_token_it_is_shown() {
    // Shows that a member that was held while another gave a token takes it with the first call
    // after, although it has not applied the entry that made it when the call comes.
    let cluster = Cluster::new("http");
    let (running, mut users) = with_auth(&cluster).await;
    let root = users[0].token("root", "rootpw").await.unwrap();
    let mut follower = 0;
    while users[follower].leads(&root).await {
        follower += 1;
    }
    for round in 0..10 {
        running[follower].signal("-STOP");
        let token = users[(follower + 1) % SIZE].token("ann", "annpw").await.unwrap();
        let resume = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            running[follower].signal("-CONT");
        };
        // A write: a linearizable read would wait for the leader before it looks at the token.
        let (said, ()) = tokio::join!(users[follower].put("k", &token), resume);
        assert_eq!(said, Ok(()), "round {round}");
    }
}
