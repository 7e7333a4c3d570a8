use api::etcdserverpb::PutRequest;

use super::*;
use crate::grpc::testing::{Home, home};

struct Fixture {
    lease: Lease,
    _home: Home,
}

impl Fixture {
    async fn start() -> Self {
        let home = home(None).await;
        Self { lease: Lease { context: home.context.clone() }, _home: home }
    }

    async fn grant(&self, id: i64, ttl: i64) -> Result<LeaseGrantResponse, Status> {
        let request = Request::new(LeaseGrantRequest { id, ttl });
        Ok(self.lease.lease_grant(request).await?.into_inner())
    }

    async fn time_to_live(&self, id: i64) -> LeaseTimeToLiveResponse {
        let request = Request::new(LeaseTimeToLiveRequest { id, keys: true });
        self.lease.lease_time_to_live(request).await.unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_chooses_and_bounds() {
    // Shows that an id of 0 becomes a positive one, that short times are raised to 1.5 elections,
    // and what is refused.
    let fixture = Fixture::start().await;
    let chosen = fixture.grant(0, 100).await.unwrap();
    assert!(chosen.id > 0);
    assert_eq!(chosen.ttl, 100);
    assert_eq!(fixture.grant(7, -5).await.unwrap().ttl, 2);
    let refused = fixture.grant(7, 100).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: lease already exists");
    let refused = fixture.grant(8, 9_000_000_001).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: too large lease TTL");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_to_live_tells_of_keys_and_of_what_is_gone() {
    // Shows the answer for a lease with a key, and that an unknown lease is no error.
    let fixture = Fixture::start().await;
    fixture.grant(7, 100).await.unwrap();
    let put = PutRequest { key: "k".into(), lease: 7, ..Default::default() };
    fixture.lease.context.propose(None, Op::Put(put)).await.unwrap();
    let found = fixture.time_to_live(7).await;
    assert!((90..=100).contains(&found.ttl));
    assert_eq!((found.granted_ttl, found.keys.len()), (100, 1));
    let gone = fixture.time_to_live(8).await;
    assert_eq!((gone.id, gone.ttl, gone.granted_ttl, gone.keys.len()), (8, -1, 0, 0));
    assert!(gone.header.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_alive_what_is_gone_answers_no_time() {
    // Shows the two answers of a keep-alive; neither is an error.
    let fixture = Fixture::start().await;
    fixture.grant(7, 100).await.unwrap();
    let metadata = MetadataMap::new();
    assert_eq!(fixture.lease.keep_alive(&metadata, 7).await.unwrap().ttl, 100);
    assert_eq!(fixture.lease.keep_alive(&metadata, 8).await.unwrap().ttl, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_listed_by_how_soon_they_expire() {
    // Shows etcd's order.
    let fixture = Fixture::start().await;
    for (id, ttl) in [(1, 300), (2, 100), (3, 200)] {
        fixture.grant(id, ttl).await.unwrap();
    }
    let listed = fixture.lease.lease_leases(Request::new(LeaseLeasesRequest {})).await.unwrap();
    let ids: Vec<i64> = listed.into_inner().leases.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [2, 3, 1]);
}
