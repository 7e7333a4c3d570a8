//! Several users, over TLS: who is known, what roles allow, what nobody can give themselves, and
//! what is written down.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::callers::{Authority, Door, Pair};
use crate::http::Http;
use crate::stage::Stage;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const TOKEN: &str = "t0ken-of-bob";
const ROBOT: &str = "t0ken-of-a-robot";
const SECRET: &str = "c3dvcmRmaXNoLXF1ZXN0aW9u";

/// A server with TLS, and those who call it.
struct Company {
    stage: Stage,
    audit: std::path::PathBuf,
    /// Of the group `system:masters`.
    boss: Http,
    /// Of the groups `dev` and `ops`, by certificate.
    ann: Http,
    ann_pair: Pair,
    /// By token, in the group `readers`.
    bob: Http,
    /// By token: the service account `robot` of the namespace `team`.
    robot: Http,
    /// Trusts the server, and says nothing of itself.
    nobody: Http,
    /// Of another authority.
    stranger: Http,
}

impl Company {
    async fn open() -> Self {
        let home = TempDir::new().unwrap();
        let ours = Authority::new(home.path(), "ours");
        let theirs = Authority::new(home.path(), "theirs");
        let server = ours.sign("server", &[]);
        let boss = ours.sign("boss", &["system:masters"]);
        let ann = ours.sign("ann", &["dev", "ops"]);
        let stranger = theirs.sign("boss", &["system:masters"]);
        let tokens = home.path().join("tokens");
        let robot = "system:serviceaccount:team:robot";
        let text = format!("# users\n{TOKEN},bob,7,\"readers\"\n{ROBOT},{robot},8\n");
        std::fs::write(&tokens, text).unwrap();
        let audit = home.path().join("audit");
        let flags = vec![
            format!("--api-cert-file={}", server.cert),
            format!("--api-key-file={}", server.key),
            format!("--api-client-ca-file={}", ours.file()),
            format!("--api-token-file={}", tokens.display()),
            format!("--api-audit-file={}", audit.display()),
        ];
        let trust = format!("--certificate-authority={}", ours.file());
        let mut caller = boss.for_kubectl();
        caller.push(trust);
        let door = Door { flags, caller };
        let stage = Stage::open("control", home, &door).await;
        let nobody = Http::new(&stage.api, &["--cacert".to_owned(), ours.file()]);
        let by = |pair: &Pair| {
            let flags = pair.for_curl();
            nobody.with(&flags.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let bearer =
            |token: &str| nobody.with(&["--header", &format!("authorization: Bearer {token}")]);
        Self {
            boss: by(&boss),
            ann: by(&ann),
            ann_pair: ann,
            bob: bearer(TOKEN),
            robot: bearer(ROBOT),
            stranger: by(&stranger),
            nobody,
            audit,
            stage,
        }
    }

    /// A role of the namespace `team`.
    async fn role(&self, name: &str, rules: Value) {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.boss.post(&format!("{RBAC}/namespaces/team/roles"), &role).await.is(201);
    }

    /// Binds a role of `team`, or everybody's, there.
    async fn bind(&self, name: &str, kind: &str, subject: Value) {
        let binding = binding(name, kind, subject);
        self.boss.post(&format!("{RBAC}/namespaces/team/rolebindings"), &binding).await.is(201);
    }
}

/// A binding that has the name of what it binds.
fn binding(name: &str, kind: &str, subject: Value) -> Value {
    json!({
        "metadata": {"name": name}, "subjects": Value::Array(vec![subject]),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
    })
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], names: &[&str]) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[tokio::test]
async fn several_users_share_a_server() {
    // Shows TLS with client certificates and bearer tokens, what Roles and ClusterRoles with both
    // bindings allow and refuse, that nobody grants more than they hold, and the audit log.
    let company = Company::open().await;
    company.stage.ok(&["create", "namespace", "team"]).await;
    callers_are_known(&company).await;
    roles_allow_what_they_name(&company).await;
    names_and_parts_are_told_apart(&company).await;
    roles_of_the_cluster_hold_where_they_are_bound(&company).await;
    nobody_grants_more_than_they_hold(&company).await;
    who_may_grant_does(&company).await;
    requests_are_written_down(&company).await;
}

/// Who one is, by certificate, by token, by nothing, and by what nobody signed.
async fn callers_are_known(company: &Company) {
    let me = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = async |http: &Http| {
        let answer = http.post(me, &json!({})).await.is(201);
        let info = answer.body["status"]["userInfo"].clone();
        (info["username"].as_str().unwrap().to_owned(), info["groups"].clone())
    };
    let (name, groups) = who(&company.ann).await;
    assert_eq!((name.as_str(), groups), ("ann", json!(["dev", "ops", "system:authenticated"])));
    let (name, groups) = who(&company.bob).await;
    assert_eq!((name.as_str(), groups), ("bob", json!(["readers", "system:authenticated"])));
    assert_eq!(who(&company.robot).await.0, "system:serviceaccount:team:robot");
    assert_eq!(who(&company.nobody).await.0, "system:anonymous");

    let unknown = company.nobody.with(&["--header", "authorization: Bearer guessed-t0ken"]);
    unknown.get("/api/v1/namespaces").await.fails(401, "Unauthorized", "");
    // A token that is wrong is not made good by a certificate.
    let both = company.ann.with(&["--header", "authorization: Bearer guessed-t0ken"]);
    both.get("/api/v1/namespaces").await.fails(401, "Unauthorized", "");
    let refused = company.nobody.get("/api/v1/namespaces/team/secrets").await;
    refused.fails(403, "Forbidden", "User \"system:anonymous\" cannot list resource \"secrets\"");
    company.nobody.get("/version").await.is(200);
    let handshake = company.stranger.run("GET", "/version", "", "").await;
    assert_ne!(handshake.code, Some(0), "{handshake:?}");
    assert!(handshake.stdout.is_empty(), "{handshake:?}");
    let plain = Http::new(&company.stage.api.replace("https:", "http:"), &[]);
    assert_ne!(plain.run("GET", "/version", "", "").await.code, Some(0));
    company.boss.get("/api/v1/namespaces").await.is(200);
}

/// A Role in one namespace: verbs, groups and parts that are named, and no others.
async fn roles_allow_what_they_name(company: &Company) {
    let pods = "/api/v1/namespaces/team/pods";
    company.ann.get(pods).await.fails(403, "Forbidden", "User \"ann\" cannot list resource");
    company
        .role("reader", json!([rule(&["get", "list", "watch"], "", &["pods", "pods/log"], &[])]))
        .await;
    company.bind("reader", "Role", user("ann")).await;
    company.ann.get(pods).await.is(200);
    company.ann.get(&format!("{pods}?watch=true&timeoutSeconds=1")).await.is(200);
    // Allowed, and not there.
    company.ann.get(&format!("{pods}/none/log")).await.fails(404, "NotFound", "");
    company.ann.get(&format!("{pods}/none/exec?command=id")).await.fails(
        403,
        "Forbidden",
        "cannot create resource \"pods/exec\"",
    );
    company.ann.get("/api/v1/namespaces/default/pods").await.is(403);
    company.ann.get("/api/v1/pods").await.fails(403, "Forbidden", "at the cluster scope");
    company.ann.post(pods, &json!({"metadata": {"name": "p"}})).await.is(403);
    company.ann.delete(&format!("{pods}/none"), &json!({})).await.is(403);
    company.ann.delete(pods, &json!({})).await.fails(403, "Forbidden", "deletecollection");
    company.ann.get("/apis/apps/v1/namespaces/team/deployments").await.is(403);
    company.bob.get(pods).await.is(403);

    let caller: Vec<String> = company.ann_pair.for_kubectl();
    let mut caller: Vec<&str> = caller.iter().map(String::as_str).collect();
    caller.push("--insecure-skip-tls-verify");
    for (question, answer) in [
        (&["list", "pods", "-n", "team"][..], "yes"),
        (&["get", "pods", "--subresource=log", "-n", "team"], "yes"),
        (&["create", "pods", "-n", "team"], "no"),
        (&["list", "pods", "-n", "default"], "no"),
    ] {
        let question: Vec<&str> = ["auth", "can-i"].iter().chain(question).copied().collect();
        let said = company.stage.run_as(&caller, &question).await;
        assert_eq!(said.stdout.trim(), answer, "{question:?}: {said:?}");
    }
}

/// `resourceNames`, `*`, a part without the whole, and subjects of all kinds.
async fn names_and_parts_are_told_apart(company: &Company) {
    let maps = "/api/v1/namespaces/team/configmaps";
    for name in ["mine", "other"] {
        company.boss.post(maps, &json!({"metadata": {"name": name}})).await.is(201);
    }
    let verbs = ["get", "list", "watch", "update", "patch", "delete", "create"];
    company.role("mine", json!([rule(&verbs, "", &["configmaps"], &["mine"])])).await;
    company.bind("mine", "Role", group("readers")).await;
    company.bob.get(&format!("{maps}/mine")).await.is(200);
    company.bob.patch(&format!("{maps}/mine"), &json!({"data": {"a": "b"}})).await.is(200);
    company.bob.get(&format!("{maps}/other")).await.is(403);
    company.bob.get(maps).await.is(403);
    let named =
        company.bob.get(&format!("{maps}?fieldSelector=metadata.name%3Dmine")).await.is(200);
    assert_eq!(named.names(), ["mine"]);
    company.bob.get(&format!("{maps}?fieldSelector=metadata.name!%3Dmine")).await.is(403);
    // What is made has no name yet that could be allowed.
    company.bob.post(maps, &json!({"metadata": {"name": "mine"}})).await.is(403);
    // Nor does a selector name what is made.
    let selected = format!("{maps}?fieldSelector=metadata.name%3Dmine");
    company.bob.post(&selected, &json!({"metadata": {"name": "new"}})).await.is(403);
    // Who may only patch makes nothing by applying it.
    company.role("patcher", json!([rule(&["patch"], "", &["secrets"], &[])])).await;
    company.bind("patcher", "Role", group("readers")).await;
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new"}});
    let path = "/api/v1/namespaces/team/secrets/new?fieldManager=test&force=true";
    let yaml = "application/apply-patch+yaml";
    company.bob.send("PATCH", path, yaml, &applied.to_string()).await.is(403);
    company.bob.delete(maps, &json!({})).await.is(403);

    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    });
    let deployments = "/apis/apps/v1/namespaces/team/deployments";
    company.boss.post(deployments, &deployment).await.is(201);
    company.role("scaler", json!([rule(&["*"], "apps", &["deployments/scale"], &[])])).await;
    let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "team"});
    company.bind("scaler", "Role", robot).await;
    let web = format!("{deployments}/web");
    let scale = json!({"spec": {"replicas": 0}});
    company.robot.patch(&format!("{web}/scale"), &scale).await.is(200);
    company.robot.patch(&web, &scale).await.is(403);
    company.robot.patch(&format!("{web}/status"), &scale).await.is(403);
    company.robot.get(&web).await.is(403);
}

/// A ClusterRole, bound in one namespace and bound everywhere.
async fn roles_of_the_cluster_hold_where_they_are_bound(company: &Company) {
    let role = json!({"metadata": {"name": "viewer"}, "rules": [
        rule(&["get", "list"], "*", &["secrets", "nodes", "services"], &[])]});
    company.boss.post(&format!("{RBAC}/clusterroles"), &role).await.is(201);
    company.bind("viewer", "ClusterRole", group("dev")).await;
    company.ann.get("/api/v1/namespaces/team/secrets").await.is(200);
    company.ann.get("/api/v1/namespaces/default/secrets").await.is(403);
    company.ann.get("/api/v1/nodes").await.is(403);
    let everywhere = binding("viewer", "ClusterRole", user("bob"));
    company.boss.post(&format!("{RBAC}/clusterrolebindings"), &everywhere).await.is(201);
    for path in ["/api/v1/namespaces/default/secrets", "/api/v1/secrets", "/api/v1/nodes"] {
        company.bob.get(path).await.is(200);
    }
    company.bob.delete("/api/v1/nodes/none", &json!({})).await.is(403);
    let gone = format!("{RBAC}/clusterrolebindings/viewer");
    company.boss.delete(&gone, &json!({})).await.is(200);
    company.bob.get("/api/v1/nodes").await.is(403);
}

/// Who may write roles and bindings still cannot make more of themselves.
async fn nobody_grants_more_than_they_hold(company: &Company) {
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    let own = rule(&verbs, "rbac.authorization.k8s.io", &["roles", "rolebindings"], &[]);
    company.role("keeper", json!([own])).await;
    company.bind("keeper", "Role", user("ann")).await;
    let everything =
        json!({"metadata": {"name": "everything"}, "rules": [rule(&["*"], "*", &["*"], &[])]});
    company.boss.post(&format!("{RBAC}/clusterroles"), &everything).await.is(201);

    let roles = format!("{RBAC}/namespaces/team/roles");
    let role = |name: &str, rule: Value| json!({"metadata": {"name": name}, "rules": [rule]});
    let held = role("held", rule(&["get"], "", &["pods"], &["one", "two"]));
    company.ann.post(&roles, &held).await.is(201);
    let not_held = "attempting to grant RBAC permissions not currently held";
    let more = rule(&["get", "delete"], "", &["pods"], &[]);
    let greedy = role("greedy", more.clone());
    company.ann.post(&roles, &greedy).await.fails(403, "Forbidden", not_held);
    company.ann.post(&format!("{roles}?dryRun=All"), &greedy).await.is(403);
    let path = format!("{roles}/held");
    let patch = json!({"rules": [more]});
    company.ann.patch(&path, &patch).await.fails(403, "Forbidden", "\"delete\"");
    let applied = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                         "metadata": {"name": "held"}, "rules": [more]});
    for name in ["held", "fresh"] {
        let mut applied = applied.clone();
        applied["metadata"]["name"] = name.into();
        let path = format!("{roles}/{name}?fieldManager=test&force=true");
        let yaml = "application/apply-patch+yaml";
        company.ann.send("PATCH", &path, yaml, &applied.to_string()).await.is(403);
    }
    let mut whole = company.ann.get(&path).await.is(200).body;
    whole["rules"] =
        json!([rule(&["get"], "", &["pods"], &[]), rule(&["get"], "", &["nodes/*"], &[])]);
    company.ann.put(&path, &whole).await.is(403);
    assert_eq!(company.ann.get(&path).await.body["rules"], held["rules"]);
    // What grants nothing may be written; the role of another too.
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    company.ann.patch(&path, &label).await.is(200);
    company.ann.patch(&format!("{roles}/scaler"), &label).await.is(200);

    let bindings = format!("{RBAC}/namespaces/team/rolebindings");
    let own = binding("everything", "ClusterRole", user("ann"));
    company.ann.post(&bindings, &own).await.fails(403, "Forbidden", not_held);
    let own = binding("none", "Role", user("ann"));
    company.ann.post(&bindings, &own).await.fails(403, "Forbidden", "there is no Role \"none\"");
    company.ann.post(&bindings, &binding("held", "Role", user("bob"))).await.is(201);
    let join = json!({"subjects": [user("ann"), user("bob")]});
    company.ann.patch(&format!("{bindings}/scaler"), &join).await.fails(403, "Forbidden", not_held);
    let other = json!({"roleRef": {"name": "everything", "kind": "ClusterRole"}});
    let changed = company.ann.patch(&format!("{bindings}/held"), &other).await.is(422);
    assert_eq!(changed.fields(), ["roleRef"]);
    company.ann.post(&format!("{RBAC}/clusterroles"), &everything).await.is(403);
}

/// `escalate` and `bind` are what lets somebody give what they do not hold.
async fn who_may_grant_does(company: &Company) {
    let rbac = "rbac.authorization.k8s.io";
    let rules = json!([
        rule(&["escalate"], rbac, &["roles"], &["held"]),
        rule(&["bind"], rbac, &["clusterroles"], &["viewer"]),
    ]);
    company.role("granter", rules).await;
    company.bind("granter", "Role", user("ann")).await;
    let roles = format!("{RBAC}/namespaces/team/roles");
    let more = json!({"rules": [rule(&["delete"], "", &["pods"], &[])]});
    company.ann.patch(&format!("{roles}/held"), &more).await.is(200);
    company
        .ann
        .post(&roles, &json!({"metadata": {"name": "new"}, "rules": more["rules"]}))
        .await
        .is(403);
    let bindings = format!("{RBAC}/namespaces/team/rolebindings");
    let mut named = binding("viewer", "ClusterRole", user("bob"));
    named["metadata"]["name"] = "viewer-of-bob".into();
    company.ann.post(&bindings, &named).await.is(201);
    company.ann.post(&bindings, &binding("everything", "ClusterRole", user("bob"))).await.is(403);
    company.bob.get("/api/v1/namespaces/team/secrets").await.is(200);

    let wrong = binding("held", "Role", json!({"kind": "Robot", "name": "x"}));
    let wrong = company.boss.post(&format!("{RBAC}/clusterrolebindings"), &wrong).await.is(422);
    assert_eq!(wrong.fields(), ["roleRef.kind", "subjects[0].kind"]);
}

/// One JSON line for each request, also for those that were refused; no body, no token.
async fn requests_are_written_down(company: &Company) {
    let secrets = "/api/v1/namespaces/team/secrets";
    let secret = json!({"metadata": {"name": "audited"}, "data": {"password": SECRET}});
    company.boss.post(&format!("{secrets}?note=made"), &secret).await.is(201);
    let read = company.ann.get(&format!("{secrets}/audited?note=read")).await.is(200);
    assert_eq!(read.body["data"]["password"], SECRET);
    company.bob.delete(&format!("{secrets}/audited?note=kept"), &json!({})).await.is(403);
    let guess = company.nobody.with(&["--header", "authorization: Bearer guessed-t0ken"]);
    guess.get(&format!("{secrets}?note=guessed")).await.is(401);

    let log = std::fs::read_to_string(&company.audit).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&company.audit).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (note, method, user, code) in [
        ("made", "POST", "boss", 201),
        ("read", "GET", "ann", 200),
        ("kept", "DELETE", "bob", 403),
        ("guessed", "GET", "system:anonymous", 401),
    ] {
        let note = format!("?note={note}");
        let uri = |line: &&Value| line["uri"].as_str().is_some_and(|uri| uri.ends_with(&note));
        let own: Vec<&Value> = lines.iter().filter(uri).collect();
        assert_eq!(own.len(), 1, "{note}: {own:?}");
        let line = own[0];
        let said = (line["method"].as_str(), line["user"].as_str(), line["code"].as_u64());
        assert_eq!(said, (Some(method), Some(user), Some(code)), "{line}");
        assert!(line["time"].is_string() && line["latency_ms"].is_u64(), "{line}");
    }
    let ann = lines.iter().find(|line| line["user"] == "ann").unwrap();
    assert_eq!(ann["groups"], json!(["dev", "ops", "system:authenticated"]));
    for secret in [SECRET, TOKEN, ROBOT, "guessed-t0ken"] {
        assert!(!log.contains(secret), "{secret}");
    }
    let own = std::fs::read_to_string(company.stage.server.log_file()).unwrap();
    assert!([SECRET, TOKEN, ROBOT].iter().all(|secret| !own.contains(secret)));
}
