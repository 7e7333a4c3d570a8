//! Names of the orchestrator's Services, asked by dig.

use testkit::{Server, subject};

use crate::dig::Dns;
use crate::tool::{delete, put};

#[tokio::test(flavor = "multi_thread")]
async fn the_orchestrators_services_have_kubernetes_names() {
    // Proves cluster addresses, headless Services with named and unnamed endpoints, ports, aliases
    // and reverse names, and that unready endpoints have none.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let dns = Dns::start(&server, &[]).await;
    let service = async |name: &str, spec: &str| {
        let document = format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}","namespace":"shop"}},"spec":{spec}}}"#
        );
        put(&clients, &format!("/registry/services/shop/{name}"), &document).await
    };
    let port = r#"[{"name":"http","port":80,"protocol":"TCP","targetPort":8080}]"#;
    service("web", &format!(r#"{{"clusterIP":"10.96.0.7","ports":{port}}}"#)).await;
    service("db", r#"{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}"#).await;
    service("away", r#"{"type":"ExternalName","externalName":"www.example.com"}"#).await;
    // Aliases that stay here: of a Service, and one after another; and two that go in a circle.
    for (name, target) in
        [("near", "web"), ("next", "near"), ("round", "circle"), ("circle", "round")]
    {
        let target = format!("{target}.shop.svc.cluster.local");
        service(name, &format!(r#"{{"type":"ExternalName","externalName":"{target}"}}"#)).await;
    }
    // What else Kubernetes keeps there, and the place where it keeps Services.
    let endpoints = r#"{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"web","namespace":"shop"},
        "subsets":[{"addresses":[{"ip":"10.1.0.9"}],"ports":[{"port":8080}]}]}"#;
    put(&clients, "/registry/services/endpoints/shop/web", endpoints).await;
    let stored = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"cache","namespace":"shop"},
        "spec":{"clusterIP":"10.96.0.8"}}"#;
    put(&clients, "/registry/services/specs/shop/cache", stored).await;
    let endpoint = |address: &str, more: &str| format!(r#"{{"addresses":["{address}"]{more}}}"#);
    let slice = format!(
        r#"{{"metadata":{{"name":"db-x","namespace":"shop","labels":{{"kubernetes.io/service-name":"db"}}}},
            "addressType":"IPv4","endpoints":[{},{},{}],"ports":[{{"name":"sql","port":5433}}]}}"#,
        endpoint("10.1.0.1", r#","hostname":"db-0","conditions":{"ready":true}"#),
        endpoint("10.1.0.2", ""),
        endpoint("10.1.0.3", r#","conditions":{"ready":false}"#),
    );
    put(&clients, "/registry/endpointslices/shop/db-x", &slice).await;

    let domain = "shop.svc.cluster.local";
    dns.until(&[&format!("web.{domain}")], &["A 10.96.0.7"]).await;
    dns.until(&[&format!("db.{domain}")], &["A 10.1.0.1", "A 10.1.0.2"]).await;
    dns.until(&[&format!("away.{domain}")], &["CNAME www.example.com."]).await;
    let (near, web) = (format!("CNAME near.{domain}."), format!("CNAME web.{domain}."));
    dns.until(&[&format!("near.{domain}")], &["A 10.96.0.7", &web]).await;
    dns.until(&[&format!("next.{domain}")], &["A 10.96.0.7", &near, &web]).await;
    // Told as far as it goes.
    let (round, circle) = (format!("CNAME round.{domain}."), format!("CNAME circle.{domain}."));
    dns.until(&[&format!("round.{domain}")], &[&circle, &round]).await;
    dns.until(&[&format!("cache.{domain}")], &["A 10.96.0.8"]).await;
    assert_eq!(dns.metric("berth_discovery_malformed_total").await, Some(0.0));
    let web_srv = [format!("SRV 0 100 80 web.{domain}.")];
    assert_eq!(dns.answers(&[&format!("_http._tcp.web.{domain}"), "SRV"]).await, web_srv);
    let db_srv = [
        format!("SRV 0 100 5433 10-1-0-2.db.{domain}."),
        format!("SRV 0 100 5433 db-0.db.{domain}."),
    ];
    assert_eq!(dns.answers(&[&format!("_sql._tcp.db.{domain}"), "SRV"]).await, db_srv);
    assert_eq!(dns.answers(&[&format!("db-0.db.{domain}")]).await, ["A 10.1.0.1"]);
    assert_eq!(dns.answers(&[&format!("10-1-0-2.db.{domain}")]).await, ["A 10.1.0.2"]);
    assert_eq!(dns.answers(&["-x", "10.96.0.7"]).await, [format!("PTR web.{domain}.")]);
    assert_eq!(dns.answers(&["-x", "10.1.0.1"]).await, [format!("PTR db-0.db.{domain}.")]);
    assert_eq!(dns.code(&format!("10-1-0-3.db.{domain}")).await, "NXDOMAIN", "not ready");
    assert_eq!(dns.code(domain).await, "NOERROR", "the namespace has names");
    assert_eq!(dns.code("other.svc.cluster.local").await, "NXDOMAIN");
    assert_eq!(dns.answers(&["dns-version.cluster.local", "TXT"]).await, [r#"TXT "1.1.0""#]);
    delete(&clients, "/registry/endpointslices/shop/db-x").await;
    dns.until(&[&format!("db.{domain}")], &[]).await;
    delete(&clients, "/registry/services/shop/web").await;
    dns.until(&[&format!("web.{domain}")], &[]).await;
    assert_eq!(dns.code(&format!("web.{domain}")).await, "NXDOMAIN");
    assert!(dns.answers(&["-x", "10.96.0.7"]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_both_families_have_names() {
    // Proves Services and endpoints with IPv6 addresses, alone and beside IPv4: AAAA, service
    // records, endpoints by host name and by address in either spelling, and the names of addresses.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let service = async |name: &str, spec: &str| {
        let metadata = format!(r#"{{"name":"{name}","namespace":"shop"}}"#);
        let document = format!(r#"{{"metadata":{metadata},"spec":{spec}}}"#);
        put(&clients, &format!("/registry/services/shop/{name}"), &document).await
    };
    let port = r#""ports":[{"name":"http","port":80,"protocol":"TCP"}]"#;
    let six = format!(
        r#"{{"clusterIP":"fd00::7","clusterIPs":["fd00::7"],"ipFamilies":["IPv6"],{port}}}"#
    );
    service("six", &six).await;
    let both =
        format!(r#"{{"clusterIP":"10.96.0.20","clusterIPs":["10.96.0.20","fd00::20"],{port}}}"#);
    service("both", &both).await;
    service("db", r#"{"clusterIP":"None","clusterIPs":["None"]}"#).await;
    let slice = async |family: &str, endpoints: &str| {
        let labels = r#"{"kubernetes.io/service-name":"db"}"#;
        let metadata = format!(r#"{{"name":"db-{family}","namespace":"shop","labels":{labels}}}"#);
        let ports = r#"[{"name":"sql","port":5432,"protocol":"TCP"}]"#;
        let document = format!(
            r#"{{"metadata":{metadata},"addressType":"{family}","endpoints":{endpoints},"ports":{ports}}}"#
        );
        put(&clients, &format!("/registry/endpointslices/shop/db-{family}"), &document).await
    };
    slice("IPv4", r#"[{"addresses":["10.1.0.1"],"hostname":"db-0"}]"#).await;
    let endpoints = r#"[{"addresses":["fd00:1::1"],"hostname":"db-0"},
        {"addresses":["fd00:1::2"]},{"addresses":["fd00:1::3"],"conditions":{"ready":false}}]"#;
    slice("IPv6", endpoints).await;

    let dns = Dns::start(&server, &[]).await;
    let domain = "shop.svc.cluster.local";
    let (six, both, db) =
        (format!("six.{domain}"), format!("both.{domain}"), format!("db.{domain}"));
    assert_eq!(dns.answers(&[&six, "AAAA"]).await, ["AAAA fd00::7"]);
    assert!(dns.answers(&[&six, "A"]).await.is_empty());
    assert_eq!(dns.code_of(&[&six, "A"]).await, "NOERROR", "it exists");
    assert_eq!(dns.answers(&[&both, "A"]).await, ["A 10.96.0.20"]);
    assert_eq!(dns.answers(&[&both, "AAAA"]).await, ["AAAA fd00::20"]);
    let srv = format!("_http._tcp.{both}");
    assert_eq!(dns.answers(&[&srv, "SRV"]).await, [format!("SRV 0 100 80 {both}.")]);
    let at = ["A 10.96.0.20", "AAAA fd00::20"].map(|address| format!("{both}. {address}"));
    assert_eq!(dns.beside(&[&srv, "SRV"]).await, at);

    assert_eq!(dns.answers(&[&db, "A"]).await, ["A 10.1.0.1"]);
    assert_eq!(dns.answers(&[&db, "AAAA"]).await, ["AAAA fd00:1::1", "AAAA fd00:1::2"]);
    assert_eq!(dns.answers(&[&format!("db-0.{db}"), "AAAA"]).await, ["AAAA fd00:1::1"]);
    assert_eq!(dns.answers(&[&format!("db-0.{db}"), "A"]).await, ["A 10.1.0.1"]);
    let spelt = "fd00-1-0-0-0-0-0-2";
    for label in [spelt, "fd00-1--2"] {
        assert_eq!(dns.answers(&[&format!("{label}.{db}"), "AAAA"]).await, ["AAAA fd00:1::2"]);
    }
    assert_eq!(dns.code_of(&[&format!("fd00-1--3.{db}"), "AAAA"]).await, "NXDOMAIN", "not ready");
    let srv = [spelt, "db-0"].map(|host| format!("SRV 0 100 5432 {host}.{db}."));
    assert_eq!(dns.answers(&[&format!("_sql._tcp.{db}"), "SRV"]).await.len(), srv.len());
    for line in srv {
        assert!(dns.answers(&[&format!("_sql._tcp.{db}"), "SRV"]).await.contains(&line), "{line}");
    }
    for (address, name) in [
        ("fd00::7", format!("{six}.")),
        ("fd00::20", format!("{both}.")),
        ("fd00:1::1", format!("db-0.{db}.")),
        ("fd00:1::2", format!("{spelt}.{db}.")),
    ] {
        assert_eq!(dns.answers(&["-x", address]).await, [format!("PTR {name}")], "{address}");
    }
    assert!(dns.answers(&["-x", "fd00:1::3"]).await.is_empty(), "not ready");
    let pod = "fd00-1--9.shop.pod.cluster.local";
    assert_eq!(dns.answers(&[pod, "AAAA"]).await, ["AAAA fd00:1::9"]);

    delete(&clients, "/registry/services/shop/six").await;
    dns.until(&[&six, "AAAA"], &[]).await;
    assert!(dns.answers(&["-x", "fd00::7"]).await.is_empty());
}
