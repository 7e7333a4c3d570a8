//! Pods from their beginning to their end.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret, Service};
use serde_json::{Value, json};
use testkit::{Script, cpu_part, eventually};
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{IMAGE, Scene, container, ended, first, is_ready, phase, waits};
use crate::secure;

const SOON_S: u64 = 60;
/// What nobody is told, and how it is written in a Secret.
const SECRET: &str = "swordfish-question";
const SECRET_DATA: &str = "c3dvcmRmaXNoLXF1ZXN0aW9u";

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_what_its_spec_says() {
    // Proves variables and files of ConfigMaps and Secrets (which follow changes), variables of
    // services, init containers with a shared volume, parts of volumes, a directory of the node's,
    // probes of all kinds (over HTTPS too), the pod's own network and that its containers share it,
    // a limit of CPU, whom it asks for names if the agent was told, logs and commands over the
    // agent's port (which wants its token), a restart of
    // the agent by a kill that no container notices, and that nothing is left of a deleted pod.
    let names = ["--cluster-dns", "192.0.2.53", "--cluster-domain", "berth.example"];
    let flags = [&["--pod-cidr", "10.231.16.0/20"], &names[..]].concat();
    let Some(mut scene) = Scene::start("a_pod_is_what_its_spec_says", "bertht2", &flags).await
    else {
        return;
    };
    let map = |text: &str| json!({"metadata": {"name": "c", "namespace": "default"}, "data": {"k": text}});
    scene.create::<ConfigMap>(map("one")).await;
    let secret =
        json!({"metadata": {"name": "s", "namespace": "default"}, "data": {"p": "cGFzcw=="}});
    scene.create::<Secret>(secret).await;
    let host = scene.root().parent().unwrap().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("by-node"), "by the node\n").unwrap();
    let script = "echo $FROM_MAP $FROM_SECRET $NAME $FROM_IMAGE; cat /shared/made; cd /shared; \
                  echo $(cat /one/key); echo > /part/mine; ls /shared/a/b; \
                  echo $(cat /secret/p); cat /host/by-node; echo by the pod > /host/by-pod; \
                  sleep 1; exec busybox httpd -f -p 8080 -h /shared";
    let mut main = container(script);
    main["env"] = json!([
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    main["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}, {"name": "files", "mountPath": "/files"},
        {"name": "shared", "mountPath": "/part", "subPath": "a/b"},
        {"name": "files", "mountPath": "/one/key", "subPath": "k"},
        {"name": "secret", "mountPath": "/secret"}, {"name": "host", "mountPath": "/host"},
    ]);
    main["startupProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 90});
    main["readinessProbe"] =
        json!({"httpGet": {"path": "/made", "port": 8080}, "periodSeconds": 1});
    let mut init = container("echo by init > /shared/made");
    init["name"] = "init".into();
    init["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut near = container(
        "until busybox wget -q -O - http://127.0.0.1:8080/made 2> /dev/null; do sleep 1; done; \
         exec sleep 600",
    );
    near["name"] = "near".into();
    near["resources"] = json!({"limits": {"cpu": "250m"}});
    scene
        .pod(
            "web",
            json!({
                "initContainers": [init], "containers": [main, near],
                "volumes": [
                    {"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                    {"name": "files", "configMap": {"name": "c"}},
                    {"name": "secret", "secret": {"secretName": "s"}},
                    {"name": "host", "hostPath": {"path": host, "type": "Directory"}},
                ],
            }),
        )
        .await;
    let pod = scene.until("web", is_ready).await;
    assert!(pod.status.as_ref().unwrap().pod_ip.as_ref().unwrap().starts_with("10.231.16."));
    let (log, code) = scene.page("/logs/default/web/main", None).await;
    let said = "one pass web yes\nby init\none\nmine\npass\nby the node\n";
    assert_eq!((log.as_str(), code.as_str()), (said, "200"));
    assert_eq!(std::fs::read_to_string(host.join("by-pod")).unwrap(), "by the pod\n");
    eventually("one container reaches the other", SOON_S, async || {
        let (log, _) = scene.page("/logs/default/web/near", None).await;
        if log == "by init\n" { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(cpu_part(pod.metadata.uid.as_deref().unwrap(), "near_0"), Some(0.25));
    assert_eq!(scene.page("/logs/default/web/main", Some("Bearer x")).await.1, "401");
    assert_eq!(scene.page("/logs/default/web/nobody", None).await.1, "404");
    let (said, status) =
        exec(&scene, "web", &["sh", "-c", "cat; hostname; exit 4"], "from here\n").await;
    assert_eq!(said, "from here\nweb\n");
    assert_eq!(status["details"]["causes"][0]["message"], "4", "{status}");
    let (asks, _) = exec(&scene, "web", &["cat", "/etc/resolv.conf"], "").await;
    let expected =
        "nameserver 192.0.2.53\nsearch default.svc.berth.example svc.berth.example berth.example";
    assert!(asks.starts_with(expected), "{asks}");
    let id = first(&pod).unwrap().container_id.clone();

    scene.kill_agent().await;
    let change = |fresh: &mut ConfigMap| {
        fresh.data.get_or_insert_default().insert("k".into(), "two".into());
        true
    };
    scene.objects.modify::<ConfigMap>(Some("default"), "c", change).await.unwrap();
    // An agent that begins knows the services before it starts anything.
    let spec = json!({"clusterIP": "10.96.0.77", "ports": [{"name": "sql", "port": 5432}]});
    let service = json!({"metadata": {"name": "my-db", "namespace": "default"}, "spec": spec});
    scene.create::<Service>(service).await;
    scene.start_agent();
    others_join(&scene).await;
    let pod = scene.until("web", is_ready).await;
    assert_eq!(
        (first(&pod).unwrap().container_id.clone(), first(&pod).unwrap().restart_count),
        (id, 0)
    );
    let mut followed = String::new();
    for _ in 0..300 {
        followed = exec(&scene, "web", &["cat", "/files/k"], "").await.0;
        if followed == "two" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(followed, "two");
    for name in ["web", "other", "watchful"] {
        scene.delete(name).await;
    }
    for place in ["root/runc/pods", "root/runc/addresses", "root/volumes"] {
        let place = scene.root().parent().unwrap().join(place);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "{}", place.display());
    }
}

/// One whose readiness is asked over HTTPS and that prints what it is told of a service, and one in
/// the node's own network whose port speaks gRPC: the store's.
async fn others_join(scene: &Scene) {
    let mut other = container(
        "echo $MY_DB_SERVICE_HOST:$MY_DB_SERVICE_PORT $MY_DB_SERVICE_PORT_SQL; exec sleep 600",
    );
    let port = secure::serve().await;
    other["readinessProbe"] =
        json!({"httpGet": {"scheme": "HTTPS", "host": "127.0.0.1", "port": port}});
    scene.pod("other", json!({"containers": [other]})).await;
    scene.until("other", is_ready).await;
    eventually("services are told", SOON_S, async || {
        let (log, _) = scene.page("/logs/default/other/main", None).await;
        if log == "10.96.0.77:5432 5432\n" { Ok(()) } else { Err(log) }
    })
    .await;
    let mut watchful = container("exec sleep 600");
    watchful["startupProbe"] = json!({"grpc": {"port": store_port(scene)}, "periodSeconds": 1});
    watchful["readinessProbe"] = watchful["startupProbe"].clone();
    scene.pod("watchful", json!({"hostNetwork": true, "containers": [watchful]})).await;
    scene.until("watchful", is_ready).await;
}

fn store_port(scene: &Scene) -> u16 {
    scene.server.endpoint().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_and_tried_again() {
    // Proves an image that is not there and one that must not be fetched, a missing ConfigMap, a part
    // of a volume behind a link, a command that is not there, a crash with its pauses, memory that
    // runs out, a liveness and a startup probe that fail, a job that ends, and that nothing of a
    // Secret is in the events that tell of this.
    let Some(scene) = Scene::start(
        "what_goes_wrong_is_said_and_tried_again",
        "bertht3",
        &["--pod-cidr", "10.231.32.0/20"],
    )
    .await
    else {
        return;
    };
    let missing = json!({"name": "main", "image": "registry.invalid/x:1"});
    scene.pod("missing", json!({"containers": [missing]})).await;
    let never =
        json!({"name": "main", "image": "registry.invalid/y:1", "imagePullPolicy": "Never"});
    scene.pod("never", json!({"containers": [never]})).await;
    let secret =
        json!({"metadata": {"name": "s", "namespace": "default"}, "data": {"p": SECRET_DATA}});
    scene.create::<Secret>(secret).await;
    let word = json!([{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}]);
    let mut unset = container("exec sleep 600");
    unset["env"] = word.clone();
    unset["envFrom"] = json!([{"configMapRef": {"name": "later"}}]);
    scene.pod("unset", json!({"containers": [unset]})).await;
    let mut nothing = json!({"name": "main", "image": IMAGE});
    nothing["command"] = json!(["/no/such/program", "$(WORD)"]);
    nothing["env"] = word.clone();
    scene.pod("nothing", json!({"containers": [nothing]})).await;
    scene.pod("crash", json!({"containers": [container("echo once; exit 3")]})).await;
    let mut hungry = container("x=a; while true; do x=$x$x; done");
    hungry["resources"] = json!({"limits": {"memory": "16Mi"}});
    scene.pod("hungry", json!({"containers": [hungry]})).await;
    let mut sick = container("exec sleep 600");
    sick["livenessProbe"] =
        json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
    sick["env"] = word;
    scene.pod("sick", json!({"containers": [sick]})).await;
    let mut slow = container("exec sleep 600");
    slow["startupProbe"] =
        json!({"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2});
    scene.pod("slow", json!({"containers": [slow]})).await;
    let mut unasked = container("exec sleep 600");
    unasked["livenessProbe"] = json!({"grpc": {"port": store_port(&scene), "service": "nobody"},
        "periodSeconds": 1, "failureThreshold": 1});
    scene.pod("unasked", json!({"hostNetwork": true, "containers": [unasked]})).await;
    let job = json!({"restartPolicy": "Never", "containers": [container("echo bye > /dev/termination-log")]});
    scene.pod("job", job).await;

    let mut init = container("exec busybox ln -s / /shared/out");
    let mut linked = container("exec sleep 600");
    init["name"] = "init".into();
    init["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    linked["volumeMounts"] = json!([{"name": "shared", "mountPath": "/out", "subPath": "out"}]);
    let volumes = json!([{"name": "shared", "emptyDir": {}}]);
    let linked = json!({"initContainers": [init], "containers": [linked], "volumes": volumes});
    scene.pod("linked", linked).await;

    scene.until("missing", |pod| waits(pod) == Some("ErrImagePull")).await;
    scene.until("never", |pod| waits(pod) == Some("ErrImageNeverPull")).await;
    let pod = scene.until("linked", |pod| waits(pod) == Some("CreateContainerConfigError")).await;
    let state = first(&pod).unwrap().state.as_ref().unwrap();
    let said = state.waiting.as_ref().unwrap().message.clone().unwrap_or_default();
    assert!(said.contains("out is a link"), "{said}");
    scene.until("unset", |pod| waits(pod) == Some("CreateContainerConfigError")).await;
    let pod = scene.until("nothing", |pod| ended(pod) == Some("StartError")).await;
    assert_ne!(phase(&pod), "Succeeded");
    scene.until("crash", |pod| waits(pod) == Some("CrashLoopBackOff")).await;
    let previous = || scene.page("/logs/default/crash/main?previous=true", None);
    scene.until("crash", |pod| first(pod).is_some_and(|one| one.restart_count >= 2)).await;
    assert_eq!(previous().await.0, "once\n");
    scene.until("hungry", |pod| ended(pod) == Some("OOMKilled")).await;
    for name in ["sick", "slow", "unasked"] {
        scene.until(name, |pod| first(pod).is_some_and(|one| one.restart_count >= 1)).await;
    }
    let pod = scene.until("job", |pod| phase(pod) == "Succeeded").await;
    let end = first(&pod).unwrap().state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((end.exit_code, end.message.as_deref()), (0, Some("bye\n")));
    scene
        .create::<ConfigMap>(
            json!({"metadata": {"name": "later", "namespace": "default"}, "data": {}}),
        )
        .await;
    scene.until("unset", is_ready).await;
    scene.until("missing", |pod| waits(pod) == Some("ImagePullBackOff")).await;
    secrets_are_not_told(&scene).await;
    for name in [
        "missing", "never", "unset", "nothing", "crash", "hungry", "sick", "slow", "unasked",
        "job", "linked",
    ] {
        scene.delete(name).await;
    }
}

/// The events say what is wrong, and nothing of what a container was given to keep.
async fn secrets_are_not_told(scene: &Scene) {
    let told = eventually("what is wrong is told", SOON_S, async || {
        let told = scene.objects.list::<Event>(None).await.unwrap().items;
        let told: Vec<String> =
            told.iter().map(|event| event.document().unwrap().to_string()).collect();
        let wanted = ["/no/such/program", "registry.invalid/y:1", "Startup probe failed"];
        match wanted.iter().find(|text| !told.iter().any(|event| event.contains(**text))) {
            None => Ok(told),
            Some(text) => Err(format!("nothing of {text}: {told:#?}")),
        }
    })
    .await;
    for secret in [SECRET, SECRET_DATA] {
        assert!(!told.iter().any(|event| event.contains(secret)), "{secret}: {told:#?}");
    }
}

/// Runs a command in the pod's container, over a WebSocket as kubectl does.
async fn exec(scene: &Scene, pod: &str, command: &[&str], input: &str) -> (String, Value) {
    let words: Vec<String> = command
        .iter()
        .map(|word| {
            format!("command={}", word.replace('%', "%25").replace(' ', "+").replace(';', "%3B"))
        })
        .collect();
    let path =
        format!("/exec/default/{pod}/main?{}&stdin=true&stdout=true&stderr=true", words.join("&"));
    let mut request = scene.request(&path).await;
    let headers = request.headers_mut();
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut message = vec![0];
    message.extend_from_slice(input.as_bytes());
    socket.send(Message::Binary(message.into())).await.unwrap();
    socket.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    let (mut said, mut status) = (String::new(), Value::Null);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        let text = String::from_utf8_lossy(&bytes[1..]);
        match bytes[0] {
            1 => said += &text,
            3 => status = serde_json::from_str(&text).unwrap(),
            _ => {}
        }
    }
    (said, status)
}

#[tokio::test]
async fn archives_that_are_none_are_refused() {
    // Proves that a file which is no archive of images, and one that is missing, get an error that
    // says so, and leave nothing behind.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.tar");
    std::fs::write(&file, "no tar at all").unwrap();
    let root = directory.path().join("root");
    for (path, words) in [(file, "x.tar"), (directory.path().join("none"), "none")] {
        let args = ["image", "import", "--root", &root.to_string_lossy(), &path.to_string_lossy()];
        let berth = std::path::Path::new(env!("CARGO_BIN_EXE_berth"));
        let finished = Script::new(berth, &args).run().await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
    }
    assert!(!root.join("runc/images/images.json").exists());
    assert_eq!(std::fs::read_dir(root.join("runc/images/incoming")).unwrap().count(), 0);
}
