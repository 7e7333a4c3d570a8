//! The requests of programs that speak to the v2 API, call by call, with etcd and with berth.

use testkit::{Program, bounded, subject};

use crate::canonical::difference;
use crate::http::{Answer, Ask, whole};
use crate::side::{Side, align};
use crate::waiting::{get, put};

/// The calls of a program, given the index of the tree.
type Calls = fn(u64) -> Vec<Call>;

/// A request, and whether it is one that waits for the next.
struct Call {
    ask: Ask,
    waits: bool,
}

fn call(ask: Ask) -> Call {
    Call { ask, waits: false }
}

fn waits(target: &str) -> Call {
    Call { ask: get(target), waits: true }
}

fn delete(target: &str) -> Call {
    call(Ask::new("DELETE", format!("/v2/keys{target}")))
}

/// SkyDNS and its kind: services as JSON under reversed names; the whole tree is watched.
fn skydns(at: u64) -> Vec<Call> {
    let service = "value=%7B%22host%22%3A%2210.0.0.1%22%2C%22port%22%3A8080%7D&ttl=3600";
    vec![
        call(get("/skydns/local/cluster?recursive=true&sorted=true")),
        call(put("/skydns/local/cluster/web/a", service)),
        call(put("/skydns/local/cluster/web/b", service)),
        call(get("/skydns/local/cluster/web?recursive=true&sorted=true")),
        waits(&format!("/skydns?recursive=true&wait=true&waitIndex={}", at + 3)),
        delete("/skydns/local/cluster/web/a"),
    ]
}

/// confd: prefixes in full, then whatever changes behind the index that the answer told.
fn confd(at: u64) -> Vec<Call> {
    vec![
        call(put("/app/upstream/one", "value=10.0.0.1%3A80")),
        call(get("/app?quorum=true&recursive=true&sorted=true")),
        waits(&format!("/app?recursive=true&wait=true&waitIndex={}", at + 2)),
        call(put("/app/upstream/two", "value=10.0.0.2%3A80")),
        call(get("/app?quorum=false&recursive=true&sorted=true")),
    ]
}

/// fleet: jobs in a hidden directory, machines that renew a lease by its index.
fn fleet(at: u64) -> Vec<Call> {
    vec![
        call(put("/_fleet/lease/engine", "prevExist=false&value=m1&ttl=300")),
        call(put("/_fleet/lease/engine", "prevExist=false&value=m2&ttl=300")),
        call(put("/_fleet/lease/engine", &format!("prevIndex={}&value=m1&ttl=300", at + 1))),
        call(put("/_fleet/lease/engine", &format!("prevIndex={}&value=m2&ttl=300", at + 1))),
        call(put("/_fleet/job/a.service/object", "prevExist=false&value=unit")),
        call(get("/_fleet/job?recursive=true&sorted=true&quorum=true")),
        call(get("/?recursive=true&sorted=true")),
        call(put("/_fleet/machines/m1/object", "prevExist=true&refresh=true&ttl=60")),
        call(put("/_fleet/machines/m1/object", "value=state&ttl=60")),
        call(put("/_fleet/machines/m1/object", "prevExist=true&refresh=true&ttl=90")),
        delete(&format!("/_fleet/lease/engine?prevIndex={}", at + 2)),
        delete("/_fleet/job/a.service?recursive=true"),
    ]
}

/// flannel: one network, subnets that hosts take and renew.
fn flannel(at: u64) -> Vec<Call> {
    let subnet = "/coreos.com/network/subnets/10.5.52.0-24";
    vec![
        call(put("/coreos.com/network/config", "value=%7B%22Network%22%3A%2210.5.0.0%2F16%22%7D")),
        call(get("/coreos.com/network/config?quorum=true")),
        call(get("/coreos.com/network/subnets?recursive=true&quorum=true")),
        call(put(subnet, "prevExist=false&value=%7B%7D&ttl=86400")),
        call(put(subnet, "prevExist=false&value=%7B%7D&ttl=86400")),
        call(get("/coreos.com/network/subnets?recursive=true&quorum=true")),
        waits(&format!(
            "/coreos.com/network/subnets?recursive=true&wait=true&waitIndex={}",
            at + 3
        )),
        call(put(subnet, "prevExist=true&value=%7B%7D&ttl=86400")),
    ]
}

/// registrator: a directory first, then one key for each container, set anew before its time ends.
fn registrator(_: u64) -> Vec<Call> {
    let web = "/services/web/host:web:80";
    vec![
        call(Ask::new("GET", "/v2/machines")),
        call(put(web, "value=10.0.0.9%3A49153&ttl=30")),
        call(put(web, "value=10.0.0.9%3A49153&ttl=30")),
        delete(&format!("{web}?recursive=false")),
        delete(web),
    ]
}

async fn play(etcd: &mut Side, berth: &mut Side, calls: &[Call]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |ask: &Ask, expected: &Answer, actual: &Answer| {
        // The addresses of members are their own.
        if !ask.target.starts_with("/v2/machines") {
            differences
                .extend(difference(ask, expected, actual).map(|it| format!("{ask:?}\n{it}")));
        }
    };
    let mut waiting = None;
    for Call { ask, waits } in calls {
        if *waits {
            let begun = (etcd.begin(0, ask).await, berth.begin(0, ask).await);
            waiting = Some((ask, begun));
            etcd.reconnect().await;
            berth.reconnect().await;
            continue;
        }
        let (expected, actual) = (etcd.ask(0, ask).await, berth.ask(0, ask).await);
        compare(ask, &expected, &actual);
        if let Some((ask, (expected, actual))) = waiting.take() {
            let told = async { tokio::join!(whole(expected), whole(actual)) };
            let (expected, actual) = bounded(told).await;
            compare(ask, &expected, &actual);
        }
    }
    differences
}

/// Proves that none of these programs would notice which server it talks to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_of_the_v2_api_see_the_same() {
    let mut etcd = Side::start(Program::etcd(), 1).await;
    let mut berth = Side::start(subject!(), 1).await;
    align(&mut etcd, &mut berth).await;
    let consumers: [(&str, Calls); 5] = [
        ("SkyDNS", skydns),
        ("confd", confd),
        ("fleet", fleet),
        ("flannel", flannel),
        ("registrator", registrator),
    ];
    for (name, calls) in consumers {
        let calls = calls(etcd.index().await);
        let differences = play(&mut etcd, &mut berth, &calls).await;
        assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
    }
}
