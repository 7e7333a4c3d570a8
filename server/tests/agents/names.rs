//! How pods find Services, and everything else, by name.

use serde_json::{Value, json};
use testkit::{Kubectl, eventually, require};

use crate::machine::{Machine, RESOLV_CONF, SOON_S, programs};

/// Where the first node's pods have their gateway.
const GATEWAY: &str = "10.244.0.1";
const WEB: &str = "web.default.svc.cluster.local";
/// What the machine's own resolver answers for, and a name in it.
const ELSEWHERE: &str = "printer.service.corp.example";
const ELSEWHERE_ADDRESS: &str = "192.0.2.9";

/// The Service `web` of the example is found by its name: by DNS on this machine as the README has
/// it, and by every pod as its policy says. What is no Service is asked of the machine's resolver.
pub(crate) async fn are_found(kubectl: &Kubectl, machine: &Machine) {
    let address = ["get", "service", "web", "-o=jsonpath={.spec.clusterIP}"];
    let address = kubectl.ok(&address).await;
    by_the_server(machine, &address).await;
    let document = r#"{"address": "192.0.2.9", "port": 631}"#;
    let put = machine.berth(&["ctl", "put", "/services/printer/1", document]).await;
    assert_eq!(put.code, Some(0), "{put:?}");
    let listen = ["dns", "--listen", "127.0.0.1:53", "--domain", "corp.example"];
    let _resolver = machine.beside(&listen);
    kubectl.ok_with(&["apply", "-f", "-"], &pods().to_string()).await;
    let ready = ["wait", "pod", "-l=asks", "--for=condition=Ready", "--timeout=50s"];
    kubectl.ok(&ready).await;
    by_pods(kubectl, &address).await;
    policies(kubectl).await;
    kubectl.ok(&["delete", "pod", "-l=asks", "--timeout=50s"]).await;
}

/// While another program has the port, the agent says so, and pods ask whom the node asks; those that
/// begin after it has gone ask the agent.
pub(crate) async fn wait_for_their_port(kubectl: &Kubectl, machine: &mut Machine) {
    machine.kill_berth().await;
    let other = machine.beside(&["dns", "--listen", "0.0.0.0:53"]);
    eventually("the port is taken", SOON_S, async || {
        let ask = ["@127.0.0.1", "+tries=1", "+time=5", WEB];
        let said = machine.run("dig", "bind9-dnsutils", &ask).await;
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    machine.start_berth();
    eventually("the agent says that the port is taken", SOON_S, async || {
        let log = machine.log();
        if log.contains("pods find no services by name") { Ok(()) } else { Err(log) }
    })
    .await;
    kubectl.shows(&["get", "namespace"], "default").await;
    assert_eq!(given(kubectl, "early").await, RESOLV_CONF);
    drop(other);
    eventually("the agent has the port", SOON_S, async || {
        let server = format!("@{GATEWAY}");
        let ask = [&*server, "+short", "+tries=1", "+time=5", WEB];
        let said = machine.run("dig", "bind9-dnsutils", &ask).await.stdout;
        if said.starts_with("10.") { Ok(()) } else { Err(format!("{said}\n{}", machine.log())) }
    })
    .await;
    let late = given(kubectl, "late").await;
    assert!(late.starts_with(&format!("nameserver {GATEWAY}\n")), "{late}");
}

/// The `/etc/resolv.conf` of a new pod.
async fn given(kubectl: &Kubectl, name: &str) -> String {
    let run = ["run", name, "--image=nginx:alpine", "--restart=Never"];
    kubectl.ok(&run).await;
    let ready = format!("pod/{name}");
    kubectl.ok(&["wait", &ready, "--for=condition=Ready", "--timeout=50s"]).await;
    kubectl.ok(&["exec", name, "--", "cat", "/etc/resolv.conf"]).await
}

async fn by_the_server(machine: &Machine, address: &str) {
    let dig = async |name: &str| {
        let arguments = ["@127.0.0.1", "-p", "8053", "+short", "+tries=1", "+time=5", name];
        machine.run("dig", "bind9-dnsutils", &arguments).await.stdout
    };
    eventually("the Service's name is answered", SOON_S, async || {
        let found = dig(WEB).await;
        if found.trim() == address { Ok(()) } else { Err(format!("{found}, not {address}")) }
    })
    .await;
    assert_eq!(dig("none.default.svc.cluster.local").await, "");
}

/// One for each policy. They run this machine's programs: those ask as programs do.
fn pods() -> Value {
    let pod = |name: &str, more: Value| {
        let (volumes, mounts) = programs();
        let container = json!({
            "name": "c", "image": "nginx:alpine", "command": ["sleep", "3600"],
            "volumeMounts": mounts,
        });
        let mut spec = json!({
            "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0,
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"asks": "yes"}}, "spec": spec,
        })
    };
    let config = json!({
        "nameservers": [GATEWAY], "searches": ["default.svc.cluster.local"],
        "options": [{"name": "timeout", "value": "5"}],
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [
        pod("asks", json!({})),
        pod("asks-node", json!({"dnsPolicy": "Default"})),
        pod("asks-itself", json!({"dnsPolicy": "None", "dnsConfig": config})),
        pod("on-host", json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})),
        pod("as-host", json!({"hostNetwork": true})),
    ]})
}

/// Short and long names lead to the page, by UDP and by TCP; the machine's resolver knows the rest.
async fn by_pods(kubectl: &Kubectl, address: &str) {
    let curl = require("curl", "curl").display().to_string();
    for (pod, name) in [
        ("asks", "web"),
        ("asks", "web.default"),
        ("asks", WEB),
        ("asks-itself", "web"),
        ("on-host", "web"),
    ] {
        let page = format!("http://{name}/");
        let command = ["exec", pod, "--", &curl, "--silent", "--fail", &page];
        kubectl.shows(&command, "it works").await;
    }
    kubectl.shows(&["exec", "asks", "--", "nslookup", "-type=a", "web"], address).await;
    let dig = require("dig", "bind9-dnsutils").display().to_string();
    let by_tcp = ["exec", "asks", "--", &dig, "+tcp", "+short", "+search", "web"];
    assert_eq!(kubectl.ok(&by_tcp).await.trim(), address);
    for (pod, name) in [("asks", ELSEWHERE), ("asks", "printer"), ("asks-node", "printer")] {
        let getent = ["exec", pod, "--", "/usr/bin/getent", "ahostsv4", name];
        kubectl.shows(&getent, ELSEWHERE_ADDRESS).await;
    }
    let nobody = kubectl.run(&["exec", "asks", "--", "nslookup", "-type=a", "nobody"]).await;
    assert_ne!(nobody.code, Some(0), "{nobody:?}");
}

/// What the pods were given.
async fn policies(kubectl: &Kubectl) {
    let of_cluster = format!(
        "nameserver {GATEWAY}\nsearch default.svc.cluster.local svc.cluster.local cluster.local \
         service.corp.example\noptions ndots:5\n"
    );
    let of_node = RESOLV_CONF.replace("127.0.0.1", GATEWAY);
    let own =
        format!("nameserver {GATEWAY}\nsearch default.svc.cluster.local\noptions timeout:5\n");
    for (pod, expected) in [
        ("asks", of_cluster.as_str()),
        ("on-host", of_cluster.as_str()),
        ("asks-node", of_node.as_str()),
        ("asks-itself", own.as_str()),
        ("as-host", RESOLV_CONF),
    ] {
        let given = kubectl.ok(&["exec", pod, "--", "cat", "/etc/resolv.conf"]).await;
        assert_eq!(given, expected, "{pod}");
    }
}
