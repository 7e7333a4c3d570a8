//! What users know a scheduler by, one by one.

use super::*;

fn zoned(name: &str, zone: &str) -> Node {
    let labels = json!({"metadata": {"labels": {"zone": zone}}});
    node(name, "4", "8Gi", labels)
}

fn none() -> Value {
    json!({})
}

#[test]
fn a_pod_is_placed_as_a_whole() {
    // Proves the classic case: an application of 1 GiB and its log collector of 0.5 GiB go at once
    // to the node that has room for both, though the first alone would fit the other one.
    let mut planner = planner(&[node("a", "4", "1.25Gi", none()), node("b", "4", "2Gi", none())]);
    let containers = json!({"spec": {"containers": [
        {"name": "app", "resources": {"requests": {"memory": "1Gi"}}},
        {"name": "logs", "resources": {"requests": {"memory": "0.5Gi"}}},
    ]}});
    assert_eq!(planner.settle(&pod("one", none(), containers.clone())).as_deref(), Some("b"));
    assert_eq!(planner.settle(&pod("two", none(), containers)), None);
    assert_eq!(planner.explain(&key("two")), "0/2 nodes are available: 2 Insufficient memory.");
}

#[test]
fn init_containers_and_sidecars_count_as_they_run() {
    // Proves what a pod needs at once: containers with sidecars, or the largest init container with
    // the sidecars before it; requests default to limits; overhead comes on top.
    let init = |name: &str, cpu: &str, policy: Value| json!({"name": name, "restartPolicy": policy, "resources": {"limits": {"cpu": cpu}}});
    let spec = json!({"spec": {
        "overhead": {"cpu": "100m"},
        "initContainers": [
            init("sidecar", "1", json!("Always")), init("setup", "3", Value::Null),
        ],
    }});
    let info = pod::PodInfo::new(&pod("one", json!({"cpu": "2"}), spec));
    assert_eq!(info.shape.requests.cpu_milli, 4100);
    let spec = json!({"spec": {"initContainers": [init("setup", "3", Value::Null)]}});
    let info = pod::PodInfo::new(&pod("one", json!({"cpu": "2"}), spec));
    assert_eq!(info.shape.requests.cpu_milli, 3000);
}

#[test]
fn work_is_spread_or_packed() {
    // Proves both strategies, that replicas which ask for nothing are spread too, and that ties go
    // by name.
    let nodes = [zoned("c", "1"), zoned("a", "1"), zoned("b", "1")];
    let mut spread = planner(&nodes);
    let mut packed = Planner::new(Strategy::MostAllocated);
    nodes.iter().for_each(|node| packed.set_node(node));
    for (at, wanted) in ["a", "b", "c", "a"].into_iter().enumerate() {
        let asking = pod(&format!("asking-{at}"), json!({"cpu": "500m"}), none());
        assert_eq!(packed.settle(&asking).as_deref(), Some("a"));
        let modest = pod(&format!("modest-{at}"), none(), none());
        assert_eq!(spread.settle(&modest).as_deref(), Some(wanted));
    }
}

#[test]
fn cordons_taints_and_readiness_keep_pods_away() {
    // Proves that each of them is a reason with its count, and that a toleration overrules a taint.
    let tainted = |name: &str, value: &str| {
        let taints = json!([{"key": "team", "value": value, "effect": "NoSchedule"}]);
        node(name, "4", "8Gi", json!({"spec": {"taints": taints}}))
    };
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let mut planner = planner(&[
        node("a", "4", "8Gi", json!({"spec": {"unschedulable": true}})),
        tainted("b", "blue"),
        tainted("c", "red"),
        node("d", "4", "8Gi", unready),
        node("e", "1", "8Gi", none()),
    ]);
    let big = pod("one", json!({"cpu": "2"}), none());
    assert_eq!(planner.settle(&big), None);
    assert_eq!(
        planner.explain(&key("one")),
        "0/5 nodes are available: 1 Insufficient cpu, \
         1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, \
         1 node(s) had untolerated taint {team: blue}, \
         1 node(s) had untolerated taint {team: red}, 1 node(s) were unschedulable."
    );
    let tolerations = json!([{"key": "team", "operator": "Equal", "value": "red"}]);
    let red = json!({"spec": {"tolerations": tolerations}});
    assert_eq!(planner.settle(&pod("two", none(), red.clone())).as_deref(), Some("c"));
    let all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    assert_eq!(planner.settle(&pod("three", json!({"cpu": "3"}), all)).as_deref(), Some("a"));
}

#[test]
fn labels_and_preferences_choose_nodes() {
    // Proves node selectors, node affinity by labels and by name, and that a preference is one.
    let mut planner = planner(&[zoned("a", "1"), zoned("b", "2"), zoned("c", "2")]);
    let select = json!({"spec": {"nodeSelector": {"zone": "2"}}});
    assert_eq!(planner.settle(&pod("one", none(), select)).as_deref(), Some("b"));
    let terms = |expressions: Value| {
        json!({"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": expressions},
        }}}})
    };
    let named = json!([{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["c"]},
    ]}]);
    assert_eq!(planner.settle(&pod("two", none(), terms(named))).as_deref(), Some("c"));
    let nowhere = json!([{"matchExpressions": [
        {"key": "zone", "operator": "NotIn", "values": ["1", "2"]},
    ]}]);
    assert_eq!(planner.settle(&pod("three", none(), terms(nowhere))), None);
    assert_eq!(
        planner.explain(&key("three")),
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    );
    let preferred = json!({"spec": {"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["2"]}],
        }}],
    }}}});
    let asks = json!({"cpu": "3"});
    for (name, wanted) in [("four", "b"), ("five", "c"), ("six", "a")] {
        let chosen = planner.settle(&pod(name, asks.clone(), preferred.clone()));
        assert_eq!(chosen.as_deref(), Some(wanted), "{name}");
    }
}

#[test]
fn a_soft_taint_dissuades_and_does_not_forbid() {
    // Proves PreferNoSchedule: others go elsewhere while they can, who tolerates it does not mind,
    // and who fits nowhere else comes.
    let taints = json!([{"key": "team", "value": "red", "effect": "PreferNoSchedule"}]);
    let nodes = [node("a", "4", "8Gi", json!({"spec": {"taints": taints}})), zoned("b", "1")];
    let all = json!({"spec": {"tolerations": [{"key": "team", "operator": "Exists"}]}});
    let tolerant = pod("tolerant", none(), all);
    assert_eq!(planner(&nodes).settle(&tolerant).as_deref(), Some("a"));
    let mut planner = planner(&nodes);
    for (name, cpu, wanted) in [("one", "1", "b"), ("two", "1", "b"), ("three", "3", "a")] {
        let chosen = planner.settle(&pod(name, json!({"cpu": cpu}), none()));
        assert_eq!(chosen.as_deref(), Some(wanted), "{name}");
    }
}

#[test]
fn a_host_port_is_taken_once() {
    // Proves that two pods do not share a port of a node, by protocol and address, and that who
    // gets none is told.
    let mut planner = planner(&[zoned("a", "1")]);
    let with = |port: Value| json!({"spec": {"containers": [{"name": "main", "ports": [port]}]}});
    let web = with(json!({"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}));
    assert!(planner.settle(&pod("one", none(), web.clone())).is_some());
    assert!(planner.settle(&pod("two", none(), web.clone())).is_none());
    assert_eq!(
        planner.explain(&key("two")),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
    let udp = with(json!({"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}));
    assert!(planner.settle(&pod("three", none(), udp)).is_some());
    let local = json!({"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"});
    assert!(planner.settle(&pod("four", none(), with(local))).is_none());
    planner.remove_pod(&key("one"));
    assert!(planner.settle(&pod("two", none(), web)).is_some());
}

fn near(kind: &str, app: &str, topology: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"affinity": {kind: {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}},
        }],
    }}}})
}

#[test]
fn pods_keep_together_and_apart() {
    // Proves affinity with its first pod, anti-affinity in both directions, and the reasons.
    let mut planner = planner(&[zoned("a", "1"), zoned("b", "2"), zoned("c", "2")]);
    let together = near("podAffinity", "db", "zone");
    let zones: Vec<_> = (0..3)
        .map(|at| planner.settle(&pod(&format!("db-{at}"), none(), together.clone())))
        .map(|node| node.unwrap())
        .collect();
    assert_eq!(zones, ["a", "a", "a"], "one zone, with one node in it");
    let apart = near("podAntiAffinity", "web", "zone");
    assert_eq!(planner.settle(&pod("web-0", none(), apart.clone())).as_deref(), Some("b"));
    assert_eq!(planner.settle(&pod("web-1", none(), apart.clone())).as_deref(), Some("a"));
    assert_eq!(planner.settle(&pod("web-2", none(), apart)), None);
    assert_eq!(
        planner.explain(&key("web-2")),
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    );
    let plain = json!({"metadata": {"labels": {"app": "web"}}});
    assert_eq!(planner.settle(&pod("web-3", none(), plain)), None);
    assert_eq!(
        planner.explain(&key("web-3")),
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

fn nearer(kind: &str, app: &str) -> Value {
    json!({"spec": {"affinity": {kind: {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
            "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}},
        }}],
    }}}})
}

#[test]
fn pods_prefer_to_be_near_or_far() {
    // Proves preferred affinity and anti-affinity: the zone they name decides while there is room,
    // and a wish that cannot be met keeps nobody waiting.
    let nodes = [zoned("a", "1"), zoned("b", "2"), zoned("c", "2")];
    let mut planner = planner(&nodes);
    let db =
        json!({"metadata": {"labels": {"app": "db"}}, "spec": {"nodeSelector": {"zone": "2"}}});
    assert_eq!(planner.settle(&pod("db", none(), db)).as_deref(), Some("b"));
    let asks = json!({"cpu": "3"});
    for (name, wanted) in [("one", "c"), ("two", "b"), ("three", "a")] {
        let near = pod(name, asks.clone(), nearer("podAffinity", "db"));
        assert_eq!(planner.settle(&near).as_deref(), Some(wanted), "{name}");
    }
    let mut planner = super::planner(&nodes);
    let db =
        json!({"metadata": {"labels": {"app": "db"}}, "spec": {"nodeSelector": {"zone": "1"}}});
    assert_eq!(planner.settle(&pod("db", none(), db)).as_deref(), Some("a"));
    for (name, wanted) in [("one", "b"), ("two", "c"), ("three", "a")] {
        let far = pod(name, asks.clone(), nearer("podAntiAffinity", "db"));
        assert_eq!(planner.settle(&far).as_deref(), Some(wanted), "{name}");
    }
}

#[test]
fn replicas_are_spread_over_domains() {
    // Proves the greatest skew over zones, as a rule and as a preference.
    let spread = |when: &str| {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]}})
    };
    let mut planner = planner(&[zoned("a", "1"), zoned("b", "1"), zoned("c", "2")]);
    planner.set_node(&node("d", "64", "64Gi", none()));
    let placed: Vec<_> = (0..4)
        .filter_map(|at| {
            planner.settle(&pod(&format!("{at}"), json!({"cpu": "2"}), spread("DoNotSchedule")))
        })
        .collect();
    assert_eq!(placed, ["a", "c", "b", "c"]);
    assert!(planner.settle(&pod("4", json!({"cpu": "2"}), spread("DoNotSchedule"))).is_some());
    assert_eq!(planner.settle(&pod("5", json!({"cpu": "2"}), spread("DoNotSchedule"))), None);
    assert_eq!(
        planner.explain(&key("5")),
        "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints, \
         1 node(s) didn't match pod topology spread constraints (missing required label), \
         2 Insufficient cpu."
    );
    let soft = planner.settle(&pod("6", json!({"cpu": "2"}), spread("ScheduleAnyway")));
    assert_eq!(soft.as_deref(), Some("d"), "anywhere rather than nowhere");
}

#[test]
fn news_that_come_late_change_nothing() {
    // Proves that an assumption outlives older news of the pod, that a forgotten one gives its room
    // back, and that pods count on a node that becomes known after them.
    let mut planner = planner(&[node("a", "1", "8Gi", none())]);
    let one = pod("one", json!({"cpu": "1"}), none());
    assert!(planner.settle(&one).is_some());
    planner.set_pod(&one);
    assert_eq!(planner.node_of(&key("one")), Some("a"));
    assert_eq!(planner.settle(&pod("two", json!({"cpu": "1"}), none())), None);
    planner.forget(&key("one"));
    assert!(planner.settle(&pod("two", json!({"cpu": "1"}), none())).is_some());

    let bound = pod("three", json!({"cpu": "1"}), json!({"spec": {"nodeName": "b"}}));
    planner.set_pod(&bound);
    planner.set_node(&node("b", "1", "8Gi", none()));
    assert_eq!(planner.settle(&pod("four", json!({"cpu": "1"}), none())), None);
    let done = pod(
        "three",
        json!({"cpu": "1"}),
        json!({
            "spec": {"nodeName": "b"}, "status": {"phase": "Succeeded"},
        }),
    );
    planner.set_pod(&done);
    assert_eq!(planner.settle(&pod("four", json!({"cpu": "1"}), none())).as_deref(), Some("b"));
}
