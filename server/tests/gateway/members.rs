//! Members that are added, promoted and removed by JSON alone.

use serde_json::{Value, json};
use testkit::{Cluster, Place, eventually, subject};

use super::http::Http;

/// etcd changes members only when all have been connected for five seconds.
const CHANGE_S_MAX: u64 = 60;

fn port(endpoint: &str) -> u16 {
    endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// A call that is repeated until the cluster allows it.
async fn change(port: u16, path: &str, body: &Value) -> Value {
    eventually(path, CHANGE_S_MAX, async || {
        let mut http = Http::connect(port).await;
        let answer = http.send("POST", path, &[], body.to_string()).await;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == 200 { Ok(told) } else { Err(told) }
    })
    .await
    .parse()
    .expect("JSON")
}

/// Proves that a learner joins, is promoted once it has caught up, leads when it is told to, and goes,
/// by calls of the gateway to members that lead and to those that do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_lead_and_go() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let follower = port(&cluster.member(cluster.others(leader)[0]).endpoint());

    let place = Place::loopback();
    let added = json!({ "peerURLs": [place.advertised_peer_url()], "isLearner": true });
    let added = change(follower, "/v3/cluster/member/add", &added).await;
    let id = added["member"]["ID"].as_str().expect("its id").to_owned();
    assert_eq!(added["member"]["isLearner"], true, "{added}");
    assert_eq!(added["members"].as_array().map(Vec::len), Some(4), "{added}");
    let at = cluster.join(place, &[]);
    cluster.member_mut(at).launch();

    let list = async |port: u16| {
        let mut http = Http::connect(port).await;
        http.call("/v3/cluster/member/list", "{}").await["members"].take()
    };
    let one = |members: &Value| {
        let members = members.as_array().expect("a list");
        members.iter().find(|member| member["ID"] == id.as_str()).cloned()
    };
    // etcd may lose the answer while it counts its members anew: the list tells.
    eventually("it is promoted", CHANGE_S_MAX, async || {
        let mut http = Http::connect(follower).await;
        let body = json!({ "ID": id }).to_string();
        let answer = http.send("POST", "/v3/cluster/member/promote", &[], body).await;
        let is_voter = one(&list(follower).await).is_some_and(|it| it.get("isLearner").is_none());
        if is_voter { Ok(()) } else { Err(String::from_utf8_lossy(&answer.body).into_owned()) }
    })
    .await;
    cluster.member_mut(at).wait_serving().await;
    assert_eq!(cluster.id(at).await.to_string(), id);

    let lead = json!({ "targetID": id });
    let leader = cluster.leader().await;
    let leading = port(&cluster.member(leader).endpoint());
    change(leading, "/v3/maintenance/transfer-leadership", &lead).await;
    assert_eq!(cluster.leader().await, at);
    let own = port(&cluster.member(at).endpoint());
    let mut http = Http::connect(own).await;
    http.call("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#).await;

    let removed = change(follower, "/v3/cluster/member/remove", &json!({ "ID": id })).await;
    assert_eq!(one(&removed["members"]), None, "{removed}");
    cluster.member_mut(at).wait_end().await;
    assert_eq!(list(follower).await.as_array().map(Vec::len), Some(3));
    cluster.converged().await;
}
