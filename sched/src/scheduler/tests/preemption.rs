//! Who has to make way for whom.

use super::*;

fn prior(name: &str, cpu: &str, priority: i32, more: Value) -> Pod {
    let mut spec = json!({"spec": {"priority": priority}});
    merge(&mut spec, more);
    pod(name, json!({"cpu": cpu}), spec)
}

fn on(node: &str) -> Value {
    json!({"spec": {"nodeName": node}})
}

#[test]
fn the_fewest_and_least_important_make_way() {
    // Proves that the node with the least important victims is chosen, that no more go than have to,
    // that the room is kept from others of the same rank, and that nothing has changed but that.
    let mut planner =
        planner(&[node("a", "4", "8Gi", json!({})), node("b", "4", "8Gi", json!({}))]);
    for pod in [
        prior("a1", "3", 5, on("a")),
        prior("b1", "1", 1, on("b")),
        prior("b2", "2", 1, on("b")),
        prior("b3", "1", 9, on("b")),
    ] {
        planner.set_pod(&pod);
    }
    planner.set_pod(&prior("big", "2", 7, json!({})));
    assert_eq!(planner.place(&key("big")), None);
    let way = planner.make_way(&key("big")).unwrap();
    let victims: Vec<_> = way.victims.iter().map(|(key, _)| key.name.to_string()).collect();
    assert_eq!((&*way.node, victims), ("b", vec!["b2".to_owned()]));
    planner.nominate(&key("big"), Some("b"));
    planner.remove_pod(&key("b2"));
    planner.set_pod(&prior("other", "2", 7, json!({})));
    assert_eq!(planner.place(&key("other")), None, "the room is kept");
    assert_eq!(planner.place(&key("big")).unwrap().node.as_ref(), "b");
    planner.assume(&key("big"), "b");
    assert_eq!(planner.place(&key("other")), None);
}

#[test]
fn nobody_makes_way_for_nothing() {
    // Proves the reasons not to preempt: nobody is less important, it would not help, the pod does
    // not want it, or somebody is leaving already.
    let mut planner = planner(&[
        node("a", "2", "8Gi", json!({})),
        node("b", "4", "8Gi", json!({"spec": {"unschedulable": true}})),
    ]);
    planner.set_pod(&prior("a1", "2", 5, on("a")));
    planner.set_pod(&prior("same", "1", 5, json!({})));
    assert_eq!(
        planner.make_way(&key("same")),
        Err("0/2 nodes are available: 1 No preemption victims found for incoming pod, \
             1 Preemption is not helpful for scheduling."
            .to_owned())
    );
    planner.set_pod(&prior("huge", "3", 9, json!({})));
    assert!(planner.make_way(&key("huge")).is_err());
    let never = json!({"spec": {"preemptionPolicy": "Never"}});
    planner.set_pod(&prior("calm", "1", 9, never));
    let refused = planner.make_way(&key("calm"));
    assert_eq!(refused, Err("not eligible due to preemptionPolicy=Never.".to_owned()));
    planner.set_pod(&prior("high", "1", 9, json!({})));
    assert!(planner.make_way(&key("high")).is_ok());
    planner.nominate(&key("high"), Some("a"));
    let mut leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    merge(&mut leaving, on("a"));
    let leaving = prior("a1", "2", 5, leaving);
    planner.set_pod(&leaving);
    assert!(planner.make_way(&key("high")).unwrap_err().contains("terminating"));
}

#[test]
fn budgets_are_broken_last() {
    // Proves that pods which a disruption budget protects are spared where others can go, and that
    // pods which keep the new one out by anti-affinity count as in the way.
    let labels = json!({"metadata": {"labels": {"app": "db"}}});
    let mut planner =
        planner(&[node("a", "2", "8Gi", json!({})), node("b", "2", "8Gi", json!({}))]);
    let mut guarded = labels.clone();
    merge(&mut guarded, on("a"));
    planner.set_pod(&prior("a1", "2", 0, guarded));
    planner.set_pod(&prior("b1", "2", 1, on("b")));
    let selector = serde_json::from_value(json!({"matchLabels": {"app": "db"}})).unwrap();
    planner.set_budgets(vec![Budget {
        namespace: "default".to_owned(),
        selector: select::Selector::new(Some(&selector)),
        allowed: 0,
    }]);
    planner.set_pod(&prior("high", "1", 9, json!({})));
    assert_eq!(&*planner.make_way(&key("high")).unwrap().node, "b");

    let apart = json!({"spec": {"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "db"}},
        }],
    }}}});
    let mut planner = super::planner(&[node("a", "4", "8Gi", json!({}))]);
    let mut beside = labels;
    merge(&mut beside, on("a"));
    planner.set_pod(&prior("a1", "1", 0, beside));
    planner.set_pod(&prior("a2", "1", 0, on("a")));
    planner.set_pod(&prior("alone", "1", 9, apart));
    let victims = planner.make_way(&key("alone")).unwrap().victims;
    assert_eq!(victims.len(), 1);
    assert_eq!(victims[0].0, key("a1"));
}
