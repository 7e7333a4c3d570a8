//! SkyDNS records, asked by dig: answered as CoreDNS's `etcd` plugin answers.

use testkit::{Server, subject};

use crate::dig::Dns;
use crate::tool::put;

#[tokio::test(flavor = "multi_thread")]
async fn skydns_records_are_read_as_coredns_reads_them() {
    // Proves subtrees, wildcards, shares of SRV records, aliases inside the zone, texts, reverse
    // names, groups, lifetimes, and a second domain.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for (path, document) in [
        ("local/cluster/prod/web/x1", r#"{"host":"10.0.0.1","port":8080,"weight":10,"ttl":60}"#),
        ("local/cluster/prod/web/x2", r#"{"host":"10.0.0.2","port":8080,"weight":30}"#),
        ("local/cluster/prod/alias", r#"{"host":"x1.web.prod.cluster.local"}"#),
        ("local/cluster/prod/note", r#"{"text":"hello world"}"#),
        ("test/sky/other", r#"{"host":"10.0.0.9"}"#),
        ("arpa/in-addr/10/0/0/1", r#"{"host":"x1.web.prod.cluster.local"}"#),
    ] {
        put(&clients, &format!("/skydns/{path}"), document).await;
    }
    let dns = Dns::start(&server, &["--domain=cluster.local,sky.test"]).await;
    let web = "web.prod.cluster.local";
    assert_eq!(dns.answers(&[web]).await, ["A 10.0.0.1", "A 10.0.0.2"]);
    assert_eq!(dns.answers(&["web.*.cluster.local"]).await, ["A 10.0.0.1", "A 10.0.0.2"]);
    assert_eq!(dns.answers(&["x2.any.prod.cluster.local"]).await, ["A 10.0.0.2"]);
    let srv =
        ["SRV 10 25 8080 x1.web.prod.cluster.local.", "SRV 10 75 8080 x2.web.prod.cluster.local."];
    assert_eq!(dns.answers(&[web, "SRV"]).await, srv);
    let alias = ["A 10.0.0.1", "CNAME x1.web.prod.cluster.local."];
    assert_eq!(dns.answers(&["alias.prod.cluster.local"]).await, alias);
    assert_eq!(dns.answers(&["note.prod.cluster.local", "TXT"]).await, [r#"TXT "hello world""#]);
    assert_eq!(dns.answers(&["other.sky.test"]).await, ["A 10.0.0.9"]);
    let name = ["PTR x1.web.prod.cluster.local."];
    assert_eq!(dns.answers(&["-x", "10.0.0.1"]).await, name);
    assert_eq!(dns.code("nothing.prod.cluster.local").await, "NXDOMAIN");
    let lifetime = dns.dig(&["x1.web.prod.cluster.local", "+answer"]).await.stdout;
    assert_eq!(lifetime.split_whitespace().nth(1), Some("60"), "{lifetime}");
}

async fn answering(records: &[(&str, &str)]) -> (Server, Dns) {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for (path, document) in records {
        put(&clients, &format!("/skydns/local/cluster/{path}"), document).await;
    }
    let dns = Dns::start(&server, &[]).await;
    (server, dns)
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_and_families_are_told() {
    // Proves that each priority has its own hundred of shares, that a host may be an IPv6 address, in
    // the answer, behind an alias and beside a service record.
    let (_server, dns) = answering(&[
        ("prio/a", r#"{"host":"10.0.1.1","port":80,"priority":5,"weight":10}"#),
        ("prio/b", r#"{"host":"10.0.1.2","port":80,"priority":5,"weight":30}"#),
        ("prio/c", r#"{"host":"10.0.1.3","port":80,"priority":20}"#),
        ("both/v4", r#"{"host":"10.0.2.1","port":80}"#),
        ("both/v6", r#"{"host":"2001:db8::7","port":80}"#),
        ("alias", r#"{"host":"v6.both.cluster.local"}"#),
    ])
    .await;
    let srv = [
        "SRV 20 100 80 c.prio.cluster.local.",
        "SRV 5 25 80 a.prio.cluster.local.",
        "SRV 5 75 80 b.prio.cluster.local.",
    ];
    assert_eq!(dns.answers(&["prio.cluster.local", "SRV"]).await, srv);
    let both = "both.cluster.local";
    assert_eq!(dns.answers(&[both]).await, ["A 10.0.2.1"]);
    assert_eq!(dns.answers(&[both, "AAAA"]).await, ["AAAA 2001:db8::7"]);
    let srv = ["SRV 10 50 80 v4.both.cluster.local.", "SRV 10 50 80 v6.both.cluster.local."];
    assert_eq!(dns.answers(&[both, "SRV"]).await, srv);
    let extra = dns.beside(&[both, "SRV"]).await;
    assert_eq!(
        extra,
        ["v4.both.cluster.local. A 10.0.2.1", "v6.both.cluster.local. AAAA 2001:db8::7"]
    );
    let alias = ["AAAA 2001:db8::7", "CNAME v6.both.cluster.local."];
    assert_eq!(dns.answers(&["alias.cluster.local", "AAAA"]).await, alias);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_stripped_of_their_labels() {
    // Proves that records may share a target, which is told once with all its addresses, that names
    // are stripped as addresses' are, and that a name of which nothing would be left is whole.
    let (_server, dns) = answering(&[
        ("strip/bar/x1", r#"{"host":"10.0.3.1","port":80,"targetstrip":1}"#),
        ("strip/bar/x2", r#"{"host":"2001:db8::2","port":80,"targetstrip":1}"#),
        ("over/x", r#"{"host":"10.0.3.3","port":80,"targetstrip":9}"#),
        ("exactly/x", r#"{"host":"10.0.3.4","port":80,"targetstrip":4}"#),
        ("named/x", r#"{"host":"x.bar.strip.cluster.local","port":81,"targetstrip":1}"#),
    ])
    .await;
    let bar = "bar.strip.cluster.local";
    assert_eq!(dns.answers(&[bar, "SRV"]).await, ["SRV 10 50 80 bar.strip.cluster.local."]);
    let addresses = ["A 10.0.3.1", "AAAA 2001:db8::2"].map(|address| format!("{bar}. {address}"));
    assert_eq!(dns.beside(&[bar, "SRV"]).await, addresses);
    let named = ["SRV 10 100 81 bar.strip.cluster.local."];
    assert_eq!(dns.answers(&["named.cluster.local", "SRV"]).await, named);
    assert_eq!(dns.beside(&["named.cluster.local", "SRV"]).await, addresses);
    let whole = ["SRV 10 100 80 x.over.cluster.local."];
    assert_eq!(dns.answers(&["over.cluster.local", "SRV"]).await, whole);
    let whole = ["SRV 10 100 80 x.exactly.cluster.local."];
    assert_eq!(dns.answers(&["exactly.cluster.local", "SRV"]).await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_answer_for_themselves() {
    // Proves that the group of the shortest path leaves others out, below it too, that a name of its
    // own is asked for as itself, and that groups which disagree are none.
    let (_server, dns) = answering(&[
        ("team/a", r#"{"host":"10.0.4.1","port":80,"group":"g1"}"#),
        ("team/sub/c", r#"{"host":"10.0.4.2","port":80,"group":"g2"}"#),
        ("team/sub/d", r#"{"host":"10.0.4.3","port":80}"#),
        ("feud/a", r#"{"host":"10.0.5.1","group":"g1"}"#),
        ("feud/b", r#"{"host":"10.0.5.2","group":"g2"}"#),
    ])
    .await;
    assert_eq!(dns.answers(&["team.cluster.local"]).await, ["A 10.0.4.1", "A 10.0.4.3"]);
    assert_eq!(dns.answers(&["sub.team.cluster.local"]).await, ["A 10.0.4.2", "A 10.0.4.3"]);
    assert_eq!(dns.answers(&["c.sub.team.cluster.local"]).await, ["A 10.0.4.2"]);
    let srv = ["SRV 10 50 80 a.team.cluster.local.", "SRV 10 50 80 d.sub.team.cluster.local."];
    assert_eq!(dns.answers(&["team.cluster.local", "SRV"]).await, srv);
    assert_eq!(dns.answers(&["feud.cluster.local"]).await, ["A 10.0.5.1", "A 10.0.5.2"]);
}
