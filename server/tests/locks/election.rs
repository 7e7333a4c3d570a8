//! The election, on one server.

use api::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use testkit::{Clients, Server, bounded, subject};
use tonic::{Code, Status, Streaming};

use crate::{LONG_S, grant, queue, queue_of};

const NAME: &str = "name";

pub(crate) async fn campaign(
    clients: &Clients,
    lease: i64,
    value: &str,
) -> Result<LeaderKey, Status> {
    let value = value.to_owned().into();
    let request = CampaignRequest { name: NAME.into(), lease, value };
    let elected = bounded(clients.election.clone().campaign(request)).await?;
    Ok(elected.into_inner().leader.unwrap())
}

pub(crate) async fn observe(clients: &Clients) -> Streaming<LeaderResponse> {
    let request = LeaderRequest { name: NAME.into() };
    bounded(clients.election.clone().observe(request)).await.unwrap().into_inner()
}

/// What the next leader says.
pub(crate) async fn seen(observer: &mut Streaming<LeaderResponse>) -> String {
    let leader = bounded(observer.message()).await.unwrap().unwrap();
    let kv = leader.kv.unwrap();
    assert!(leader.header.unwrap().revision >= kv.mod_revision);
    String::from_utf8(kv.value.to_vec()).unwrap()
}

async fn proclaim(clients: &Clients, leader: &LeaderKey, value: &str) -> Result<(), Status> {
    let value = value.to_owned().into();
    let request = ProclaimRequest { leader: Some(leader.clone()), value };
    bounded(clients.election.clone().proclaim(request)).await.map(drop)
}

async fn resign(clients: &Clients, leader: &LeaderKey) {
    let request = ResignRequest { leader: Some(leader.clone()) };
    bounded(clients.election.clone().resign(request)).await.unwrap();
}

/// Proves a whole election: candidates are elected in their order, proclaim and resign, an observer
/// sees each leader and each word once, and the revision of leaders grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_is_observed() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    grant(&clients, 2, LONG_S).await;
    let first = campaign(&clients, 1, "one").await.unwrap();
    assert_eq!((&first.name[..], &first.key[..], first.lease), (&b"name"[..], &b"name/1"[..], 1));
    let mut observer = observe(&clients).await;
    assert_eq!(seen(&mut observer).await, "one");
    proclaim(&clients, &first, "one again").await.unwrap();
    assert_eq!(seen(&mut observer).await, "one again");
    let second = tokio::spawn({
        let clients = clients.clone();
        async move { campaign(&clients, 2, "two").await }
    });
    queue_of(&clients, NAME, 2).await;
    let leader = clients.election.clone().leader(LeaderRequest { name: NAME.into() }).await;
    assert_eq!(leader.unwrap().into_inner().kv.unwrap().value, "one again");
    resign(&clients, &first).await;
    let second = bounded(second).await.unwrap().unwrap();
    assert!(second.rev > first.rev);
    assert_eq!(seen(&mut observer).await, "two");
    let late = proclaim(&clients, &first, "still one").await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::Unknown, "election: not leader"));
    // Resigning twice does nothing, not even to the next leader.
    resign(&clients, &first).await;
    assert_eq!(queue(&clients, NAME).await.len(), 1);
}

/// Proves that an observer that comes first waits for a leader, and one that loses it for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_waits_for_a_leader() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    // The server says nothing, not even a head, before there is a leader.
    let observing = tokio::spawn({
        let clients = clients.clone();
        async move {
            let mut observer = observe(&clients).await;
            (seen(&mut observer).await, observer)
        }
    });
    grant(&clients, 1, LONG_S).await;
    let first = campaign(&clients, 1, "one").await.unwrap();
    let (said, mut observer) = bounded(observing).await.unwrap();
    assert_eq!(said, "one");
    resign(&clients, &first).await;
    campaign(&clients, 1, "two").await.unwrap();
    assert_eq!(seen(&mut observer).await, "two");
}

/// Proves that a candidate that asks again is the same one, with the word that it has now; and that
/// one that goes away while it waits leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_come_again_and_go_away() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    grant(&clients, 2, LONG_S).await;
    let first = campaign(&clients, 1, "one").await.unwrap();
    let again = campaign(&clients, 1, "other").await.unwrap();
    assert_eq!((again.key, again.rev), (first.key.clone(), first.rev));
    assert_eq!(queue(&clients, NAME).await[0].value, "other");
    let waiting = tokio::spawn({
        let clients = clients.clone();
        async move { campaign(&clients, 2, "two").await }
    });
    queue_of(&clients, NAME, 2).await;
    waiting.abort();
    queue_of(&clients, NAME, 1).await;
    assert_eq!(queue(&clients, NAME).await[0].key, first.key);
}

/// Proves that what nobody leads, and what does not say of whom it speaks, is refused in etcd's
/// words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_etcds() {
    let server = Server::start(subject!(), &[]).await;
    let mut election = server.clients().election;
    let mut told = Vec::new();
    told.push(bounded(election.leader(LeaderRequest { name: NAME.into() })).await.unwrap_err());
    told.push(bounded(election.proclaim(ProclaimRequest::default())).await.unwrap_err());
    told.push(bounded(election.resign(ResignRequest::default())).await.unwrap_err());
    let missing = "\"leader\" field must be provided";
    let words: Vec<_> = told.iter().map(|status| (status.code(), status.message())).collect();
    let unknown = |words| (Code::Unknown, words);
    assert_eq!(words, [unknown("election: no leader"), unknown(missing), unknown(missing)]);
}
