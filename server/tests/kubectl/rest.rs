//! The REST API as clients other than kubectl use it: pages, watches, preconditions, dry runs,
//! deletions in their three ways, and what is answered to requests that are wrong.

use api::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use serde_json::{Value, json};
use testkit::{Kind, eventually, subject};

use crate::http::{Answer, Http};
use crate::parts;
use crate::stage::{SOON_S, Stage};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn the_rest_api_is_as_clients_expect_it() {
    // Shows limit and continue, bookmarks, 410 after a compaction, deletecollection, the three ways
    // of deletion, dry runs, conflicts, 422 with the fields' paths, 404 and 405, wrong bodies and
    // selectors, ports that TCP and UDP share, documents that cannot be read; nodes that are filled
    // one after the other, bindings by hand, status by itself, grace, and fields that nobody knows.
    let flags = ["--scheduler-strategy=MostAllocated"];
    let stage = Stage::start_with_flags("control", &flags).await;
    let http = Http::new(&stage.api, &[]);
    lists_come_in_pages(&http).await;
    watches_end_with_a_bookmark(&http).await;
    what_is_compacted_is_gone(&stage, &http).await;
    collections_are_deleted(&http).await;
    owners_are_deleted_in_three_ways(&http).await;
    dry_runs_leave_nothing(&http).await;
    writes_have_preconditions(&http).await;
    what_is_wrong_is_named(&http).await;
    what_is_not_there_is_said(&http).await;
    wrong_requests_change_nothing(&http).await;
    protocols_share_a_port(&http).await;
    what_cannot_be_read_is_told(&stage, &http).await;
    parts::are_written_by_themselves(&http).await;
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"made": "here"}}, "data": {"a": "b"}})
}

async fn make(http: &Http, name: &str) -> Answer {
    http.post(MAPS, &map(name)).await.is(201)
}

/// Every page is of the revision of the first one.
async fn lists_come_in_pages(http: &Http) {
    for number in 0..5 {
        make(http, &format!("page-{number}")).await;
    }
    let first = http.get(&format!("{MAPS}?limit=2")).await.is(200);
    assert_eq!(first.names(), ["page-0", "page-1"]);
    assert_eq!(first.body["metadata"]["remainingItemCount"], 3);
    make(http, "page-9").await;
    http.delete(&format!("{MAPS}/page-3"), &json!({})).await.is(200);
    let mut names = Vec::new();
    let mut next = first.body["metadata"]["continue"].as_str().map(str::to_owned);
    let mut pages = 0;
    while let Some(token) = next {
        let page = http.get(&format!("{MAPS}?limit=2&continue={token}")).await.is(200);
        assert_eq!(page.version(), first.version(), "one revision for all pages");
        names.extend(page.names().iter().map(ToString::to_string));
        next = page.body["metadata"]["continue"].as_str().map(str::to_owned);
        pages += 1;
        assert!(pages < 5, "pages without end");
    }
    assert_eq!((pages, names), (2, ["page-2", "page-3", "page-4"].map(str::to_owned).to_vec()));
    let now = http.get(MAPS).await.is(200);
    assert_eq!(now.names(), ["page-0", "page-1", "page-2", "page-4", "page-9"]);
    let then = format!("resourceVersion={}&resourceVersionMatch=Exact", first.version());
    assert_eq!(http.get(&format!("{MAPS}?{then}")).await.is(200).names().len(), 5);
    // Chosen ones fill a page, however far apart they are.
    let label = json!({"metadata": {"labels": {"made": "there"}}});
    http.patch(&format!("{MAPS}/page-9"), &label).await.is(200);
    let chosen = http.get(&format!("{MAPS}?limit=1&labelSelector=made%3Dthere")).await.is(200);
    assert_eq!(chosen.names(), ["page-9"]);
    assert!(chosen.body["metadata"]["continue"].is_null());
    http.get(&format!("{MAPS}?limit=2&continue=nonsense")).await.fails(
        400,
        "BadRequest",
        "continue",
    );
}

/// All lines of a watch that ends by itself.
async fn watch(http: &Http, query: &str) -> Vec<Value> {
    let answer = http.get(&format!("{MAPS}?watch=true&{query}")).await.is(200);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line as it may be compared: what happened to what.
fn kinds(lines: &[Value]) -> Vec<(&str, &str)> {
    lines
        .iter()
        .map(|line| {
            let name = line["object"]["metadata"]["name"].as_str().unwrap_or_default();
            (line["type"].as_str().unwrap_or_default(), name)
        })
        .collect()
}

/// Watches until it was long enough for all of this, and nothing else, to be sent.
async fn watched(http: &Http, query: &str, expected: &[(&str, &str)]) -> Vec<Value> {
    eventually("a watch", SOON_S, async || {
        let lines = watch(http, query).await;
        if kinds(&lines) == expected { Ok(lines) } else { Err(format!("{lines:?}")) }
    })
    .await
}

async fn watches_end_with_a_bookmark(http: &Http) {
    let from = http.get(MAPS).await.version().to_owned();
    make(http, "watched").await;
    http.patch(&format!("{MAPS}/watched"), &json!({"data": {"a": "c"}})).await.is(200);
    http.delete(&format!("{MAPS}/watched"), &json!({})).await.is(200);
    // The bookmark at its end names how far it came, so that the next one begins there.
    let query = format!("resourceVersion={from}&timeoutSeconds=1&allowWatchBookmarks=true");
    let seen =
        [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched"), ("BOOKMARK", "")];
    let lines = watched(http, &query, &seen).await;
    let version = |line: &Value| -> i64 {
        line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    assert_eq!(lines[3]["object"]["kind"], "ConfigMap");
    assert!(version(&lines[3]) >= version(&lines[2]), "{lines:?}");
    let rest = format!("resourceVersion={}&timeoutSeconds=1", version(&lines[1]));
    watched(http, &rest, &[("DELETED", "watched")]).await;

    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let lines = watch(http, &format!("{initial}&allowWatchBookmarks=true&limit=1")).await;
    let first = lines.iter().position(|line| line["type"] == "BOOKMARK").unwrap();
    assert!(first > 0 && lines[..first].iter().all(|line| line["type"] == "ADDED"), "{lines:?}");
    let notes = &lines[first]["object"]["metadata"]["annotations"];
    assert_eq!(notes["k8s.io/initial-events-end"], "true");
}

async fn what_is_compacted_is_gone(stage: &Stage, http: &Http) {
    let page = http.get(&format!("{MAPS}?limit=1")).await.is(200);
    let token = page.body["metadata"]["continue"].as_str().unwrap().to_owned();
    // Two, as a watch may begin at the compacted revision itself.
    make(http, "later").await;
    make(http, "latest").await;
    let mut kv = stage.server.clients().kv;
    let now = kv.range(RangeRequest { key: "x".into(), ..Default::default() }).await.unwrap();
    let revision = now.into_inner().header.unwrap().revision;
    kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
    let gone = http.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    gone.fails(410, "Expired", "too old");
    let exact = format!("resourceVersion={}&resourceVersionMatch=Exact", page.version());
    http.get(&format!("{MAPS}?{exact}")).await.fails(410, "Expired", "too old");
    let old = format!("resourceVersion={}&timeoutSeconds=30", page.version());
    let lines = watch(http, &old).await;
    assert_eq!(kinds(&lines), [("ERROR", "")], "{lines:?}");
    assert_eq!(lines[0]["object"]["code"], 410);
    assert_eq!(lines[0]["object"]["reason"], "Expired");
}

async fn collections_are_deleted(http: &Http) {
    let there = http.get(MAPS).await.names().len();
    let chosen = format!("{MAPS}?labelSelector=made%3Dthere");
    let dry = http.delete(&format!("{chosen}&dryRun=All"), &json!({})).await.is(200);
    assert_eq!(dry.names(), ["page-9"]);
    assert_eq!(http.get(MAPS).await.names().len(), there);
    assert_eq!(http.delete(&chosen, &json!({})).await.is(200).names(), ["page-9"]);
    assert_eq!(http.get(MAPS).await.names().len(), there - 1);
    http.delete("/api/v1/configmaps", &json!({})).await.fails(405, "MethodNotAllowed", "");
    http.delete(&format!("{MAPS}?labelSelector=a%20in%20b"), &json!({})).await.is(400);
    assert_eq!(http.get(MAPS).await.names().len(), there - 1);
    http.delete(MAPS, &json!({})).await.is(200);
    assert!(http.get(MAPS).await.names().is_empty());
}

/// An owner, and what it owns: `held` has somebody who must let it go first.
async fn family(http: &Http, name: &str) -> String {
    let owner = make(http, name).await;
    let uid = owner.body["metadata"]["uid"].as_str().unwrap().to_owned();
    for (child, finalizers) in [("free", json!([])), ("held", json!(["test.berth.dev/hold"]))] {
        let mut object = map(&format!("{name}-{child}"));
        object["metadata"]["finalizers"] = finalizers;
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid,
            "blockOwnerDeletion": true,
        }]);
        http.post(MAPS, &object).await.is(201);
    }
    uid
}

async fn gone(http: &Http, name: &str) {
    eventually(&format!("{name} is gone"), SOON_S, async || {
        let answer = http.get(&format!("{MAPS}/{name}")).await;
        if answer.code == 404 { Ok(()) } else { Err(answer.text) }
    })
    .await;
}

async fn let_go(http: &Http, name: &str) {
    let none = json!({"metadata": {"finalizers": null}});
    http.patch(&format!("{MAPS}/{name}"), &none).await.is(200);
}

async fn owners_are_deleted_in_three_ways(http: &Http) {
    let at = |name: &str| format!("{MAPS}/{name}");
    // Background: the owner at once, what it owns afterwards.
    family(http, "back").await;
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let deleted = http.delete(&at("back"), &options).await.is(200);
    assert_eq!(deleted.body["status"], "Success");
    http.get(&at("back")).await.is(404);
    gone(http, "back-free").await;
    eventually("what is held waits", SOON_S, async || {
        let held = http.get(&at("back-held")).await.is(200);
        let marked = held.body["metadata"]["deletionTimestamp"].is_string();
        if marked { Ok(()) } else { Err(held.text) }
    })
    .await;
    let_go(http, "back-held").await;
    gone(http, "back-held").await;

    // Foreground: the owner stays, marked, until the last that it owns has gone.
    family(http, "fore").await;
    let marked = http
        .delete(&format!("{}?propagationPolicy=Foreground", at("fore")), &json!({}))
        .await
        .is(200);
    assert!(marked.body["metadata"]["deletionTimestamp"].is_string(), "{}", marked.text);
    assert_eq!(marked.body["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    gone(http, "fore-free").await;
    let owner = http.get(&at("fore")).await.is(200);
    assert_eq!(owner.body["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let_go(http, "fore-held").await;
    gone(http, "fore-held").await;
    gone(http, "fore").await;

    // Orphan: what it owns stays, and is nobody's.
    family(http, "orphan").await;
    http.delete(&at("orphan"), &json!({"propagationPolicy": "Orphan"})).await.is(200);
    gone(http, "orphan").await;
    for child in ["orphan-free", "orphan-held"] {
        let child = http.get(&at(child)).await.is(200);
        let owners = child.body["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
        assert_eq!(owners, 0, "{}", child.text);
        assert!(child.body["metadata"]["deletionTimestamp"].is_null(), "{}", child.text);
    }
    let_go(http, "orphan-held").await;
    let wrong = http.delete(&at("orphan-free"), &json!({"propagationPolicy": "Sideways"})).await;
    wrong.fails(400, "BadRequest", "Sideways");
    http.get(&at("orphan-free")).await.is(200);
}

async fn dry_runs_leave_nothing(http: &Http) {
    let made = http.post(&format!("{MAPS}?dryRun=All"), &map("dry")).await.is(201);
    assert!(made.body["metadata"]["uid"].is_string());
    http.get(&format!("{MAPS}/dry")).await.is(404);
    let there = make(http, "dry").await;
    let dry = format!("{MAPS}/dry?dryRun=All");
    let patched = http.patch(&dry, &json!({"data": {"a": "dry"}})).await.is(200);
    assert_eq!(patched.body["data"]["a"], "dry");
    let mut whole = there.body.clone();
    whole["data"]["a"] = "dry".into();
    http.put(&dry, &whole).await.is(200);
    http.delete(&dry, &json!({})).await.is(200);
    http.delete(&format!("{MAPS}/dry"), &json!({"dryRun": ["All"]})).await.is(200);
    // A dry run is refused for what the real one would be refused for.
    http.post(&format!("{MAPS}?dryRun=All"), &map("dry")).await.fails(409, "AlreadyExists", "");
    http.post(&format!("{MAPS}?dryRun=All"), &map("Dry_")).await.is(422);
    http.post(&format!("{MAPS}?dryRun=Some"), &map("other")).await.is(400);
    let service = json!({"metadata": {"name": "dry"}, "spec": {"type": "NodePort",
        "ports": [{"port": 80, "nodePort": 30_500}]}});
    for _ in 0..2 {
        http.post(&format!("{SERVICES}?dryRun=All"), &service).await.is(201);
    }
    let now = http.get(&format!("{MAPS}/dry")).await.is(200);
    assert_eq!(now.body, there.body, "nothing has touched it");
}

async fn writes_have_preconditions(http: &Http) {
    let first = make(http, "versions").await;
    http.post(MAPS, &map("versions")).await.fails(409, "AlreadyExists", "already exists");
    let path = format!("{MAPS}/versions");
    let second = http.patch(&path, &json!({"data": {"a": "2"}})).await.is(200);
    let modified = "the object has been modified";
    http.put(&path, &first.body).await.fails(409, "Conflict", modified);
    let stale = json!({"metadata": {"resourceVersion": first.version()}, "data": {"a": "3"}});
    http.patch(&path, &stale).await.fails(409, "Conflict", modified);
    for conditions in [json!({"uid": "another"}), json!({"resourceVersion": first.version()})] {
        let options = json!({"preconditions": conditions});
        http.delete(&path, &options).await.fails(409, "Conflict", "precondition");
    }
    let mut other = second.body.clone();
    other["metadata"]["uid"] = "another".into();
    assert!(matches!(http.put(&path, &other).await.code, 409 | 422));
    // Without a version it holds for whatever is stored.
    let mut blind = second.body.clone();
    blind["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    let third = http.put(&path, &blind).await.is(200);
    assert_eq!(third.version(), second.version(), "nothing is different, so nothing is written");
    let conditions = json!({
        "uid": third.body["metadata"]["uid"], "resourceVersion": third.version(),
    });
    http.delete(&path, &json!({"preconditions": conditions})).await.is(200);
}

async fn what_is_wrong_is_named(http: &Http) {
    let web = |change: fn(&mut Value)| {
        let mut value = json!({"metadata": {"name": "web"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
        change(&mut value);
        value
    };
    let mut wrong = web(|web| {
        web["spec"]["replicas"] = json!(-1);
        web["spec"]["template"]["spec"]["containers"][0]["name"] = "Web".into();
        web["spec"]["template"]["spec"]["containers"][0]["ports"] =
            json!([{"containerPort": 70_000}]);
    });
    let said = http.post(DEPLOYMENTS, &wrong).await.is(422);
    assert_eq!(said.body["reason"], "Invalid");
    let container = "spec.template.spec.containers[0]";
    for field in [
        "spec.replicas",
        &format!("{container}.name"),
        &format!("{container}.ports[0].containerPort"),
    ] {
        assert!(said.fields().contains(&field), "{field}: {}", said.text);
    }
    wrong = web(|web| web["spec"]["replicas"] = "many".into());
    http.post(DEPLOYMENTS, &wrong).await.fails(400, "BadRequest", "spec.replicas");
    http.post(DEPLOYMENTS, &web(|_| {})).await.is(201);
    let path = format!("{DEPLOYMENTS}/web");
    let said = http
        .patch(&path, &json!({"spec": {"selector": {"matchLabels": {"app": "db"}}}}))
        .await
        .is(422);
    assert!(said.fields().contains(&"spec.selector"), "{}", said.text);
    let bad = json!([{"op": "replace", "path": "/spec/none/deeper", "value": 1}]);
    let json_patch = "application/json-patch+json";
    http.send("PATCH", &path, json_patch, &bad.to_string()).await.fails(422, "Invalid", "");
    http.put(&format!("{path}/scale"), &json!({"spec": {"replicas": -2}})).await.is(422);
    assert_eq!(http.get(&path).await.body["spec"]["replicas"], 1);
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let unknown = web(|web| {
        web["metadata"]["name"] = "strict".into();
        web["spec"]["replicsa"] = 2.into();
    });
    http.post(&strict, &unknown).await.fails(400, "BadRequest", "unknown field \"spec.replicsa\"");
    http.delete(&path, &json!({})).await.is(200);
}

async fn what_is_not_there_is_said(http: &Http) {
    http.get(&format!("{MAPS}/none")).await.fails(404, "NotFound", "configmaps \"none\" not found");
    http.put(&format!("{MAPS}/none"), &map("none")).await.fails(404, "NotFound", "none");
    http.patch(&format!("{MAPS}/none"), &json!({})).await.fails(404, "NotFound", "none");
    http.delete(&format!("{MAPS}/none"), &json!({})).await.fails(404, "NotFound", "none");
    for path in [
        "/api/v1/namespaces/default/gadgets",
        "/apis/apps/v9/deployments",
        "/apis/none.example/v1/things",
        "/nowhere",
        &format!("{MAPS}/none/scale"),
    ] {
        http.get(path).await.fails(404, "NotFound", "");
    }
    let elsewhere = "/api/v1/namespaces/nowhere/configmaps";
    http.post(elsewhere, &map("a")).await.fails(404, "NotFound", "namespaces \"nowhere\"");
    assert!(http.get(elsewhere).await.is(200).names().is_empty());
    http.send("PUT", MAPS, "application/json", "{}").await.fails(405, "MethodNotAllowed", "");
    http.post(&format!("{MAPS}/none"), &map("none")).await.fails(405, "MethodNotAllowed", "");
}

async fn wrong_requests_change_nothing(http: &Http) {
    let before = http.get(MAPS).await.is(200).body["items"].clone();
    let (js, yaml) = ("application/json", "application/yaml");
    for (media_type, body, code) in [
        (js, "{", 400),
        (js, "[]", 400),
        (js, "", 400),
        (js, "{\"metadata\": []}", 400),
        (js, "{\"kind\": \"Secret\", \"metadata\": {\"name\": \"a\"}}", 400),
        (js, "{\"metadata\": {\"name\": \"a\", \"namespace\": \"other\"}}", 400),
        (js, "{\"metadata\": {\"name\": \"a\"}, \"data\": {\"a\": 1}}", 400),
        (js, "{\"metadata\": {}}", 422),
        (yaml, "metadata: {name: a", 400),
        (yaml, "metadata:\n\t- x", 400),
        ("text/html", "<p>", 415),
        ("application/vnd.kubernetes.protobuf", "k8s\0nonsense", 400),
    ] {
        let answer = http.send("POST", MAPS, media_type, body).await;
        assert_eq!(answer.code, code, "{media_type} {body}: {}", answer.text);
        assert_eq!(answer.body["kind"], "Status", "{}", answer.text);
    }
    let large = format!("{{\"metadata\": {{\"name\": \"{}\"}}}}", "a".repeat(3 << 20));
    http.send("POST", MAPS, js, &large).await.fails(413, "RequestEntityTooLarge", "limit is");
    let deep = "[".repeat(100_000);
    http.send("POST", MAPS, js, &deep).await.fails(400, "BadRequest", "");
    http.send("PATCH", &format!("{MAPS}/dry"), "text/plain", "x").await.is(415);
    for query in [
        "labelSelector=a%20in%20b",
        "labelSelector=%3D%3Db",
        "labelSelector=a%3D-b-",
        "fieldSelector=metadata.name",
        "limit=-1",
        "limit=many",
        "watch=perhaps",
        "watch=true&timeoutSeconds=soon",
        "watch=true&resourceVersion=new",
        "resourceVersionMatch=Exact",
    ] {
        let answer = http.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(answer.code, 400, "{query}: {}", answer.text);
        assert_eq!(answer.body["kind"], "Status", "{query}: {}", answer.text);
    }
    assert_eq!(http.get(MAPS).await.is(200).body["items"], before);
}

/// One number for TCP and for UDP is one claim: taken with the Service, free when it has gone.
async fn protocols_share_a_port(http: &Http) {
    let port = |name: &str, protocol: &str, number: i64| json!({"name": name, "protocol": protocol, "port": number, "nodePort": 30_053});
    let service = |name: &str, ports: Value| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}});
    let both = json!([port("tcp", "TCP", 53), port("udp", "UDP", 53)]);
    let dns = http.post(SERVICES, &service("dns", both.clone())).await.is(201);
    assert_eq!(dns.body["spec"]["ports"][1]["nodePort"], 30_053);
    let other = service("other", json!([port("tcp", "TCP", 54)]));
    http.post(SERVICES, &other).await.fails(422, "Invalid", "already allocated");
    let path = format!("{SERVICES}/dns");
    let one = json!({"spec": {"ports": [port("udp", "UDP", 53)]}});
    http.patch(&path, &one).await.is(200);
    http.post(SERVICES, &other).await.fails(422, "Invalid", "already allocated");
    http.patch(&path, &json!({"spec": {"ports": both}})).await.is(200);
    http.delete(&path, &json!({})).await.is(200);
    let twice = json!([port("a", "TCP", 53), port("b", "TCP", 54)]);
    let said = http.post(SERVICES, &service("twice", twice)).await.is(422);
    assert_eq!(said.fields(), ["spec.ports[1].nodePort"]);
    http.post(SERVICES, &other).await.is(201);
    http.delete(&format!("{SERVICES}/other"), &json!({})).await.is(200);
}

/// What somebody has put below `/registry` that is no object stops nothing, and is told of.
async fn what_cannot_be_read_is_told(stage: &Stage, http: &Http) {
    make(http, "sound").await;
    let put = PutRequest {
        key: "/registry/configmaps/default/broken".into(),
        value: "{\"metadata\"".into(),
        ..PutRequest::default()
    };
    stage.server.clients().kv.put(put).await.unwrap();
    for _ in 0..2 {
        let list = http.get(MAPS).await.is(200);
        assert!(list.names().contains(&"sound"), "{}", list.text);
        assert!(!list.names().contains(&"broken"), "{}", list.text);
        assert!(
            list.head.contains("warning: 299 - \"1 of the configmaps cannot be read"),
            "{}",
            list.head
        );
    }
    let said = http.get(&format!("{MAPS}/broken")).await;
    said.fails(500, "InternalError", "/registry/configmaps/default/broken holds no object");
    make(http, "after").await;
    if subject!().kind == Kind::Berth {
        let log = std::fs::read_to_string(stage.server.log_file()).unwrap();
        let told = log.lines().filter(|line| line.contains("passed over until it is mended"));
        assert_eq!(told.count(), 1, "told once:\n{log}");
        let store = Http::new(&stage.server.endpoint(), &[]);
        let page = store.get("/metrics").await.is(200).text;
        assert!(page.contains("berth_orchestrator_unreadable_objects 1\n"));
    }
}
