use proptest::prelude::*;
use serde_json::{Value, json};

use super::collect::collect;
use super::set::FieldSet;
use super::step::{Step, show};
use super::*;

fn writer(manager: &str, operation: Operation) -> Writer {
    Writer {
        manager: manager.to_owned(),
        operation,
        api_version: "apps/v1".to_owned(),
        subresource: String::new(),
        time: "2026-01-01T00:00:00Z".to_owned(),
        apart: None,
    }
}

/// An object with its owners.
#[derive(Clone, Debug, Default, PartialEq)]
struct Live {
    value: Value,
    owners: Owners,
}

impl Live {
    fn try_apply(&self, manager: &str, config: &Value, force: bool) -> Result<Self, Vec<Conflict>> {
        let takes = if force { Takes::Everything } else { Takes::These(FieldSet::default()) };
        let live = if self.value.is_null() { json!({}) } else { self.value.clone() };
        let writer = writer(manager, Operation::Apply);
        let Applied { value, owners } = apply(&live, config, self.owners.clone(), &writer, &takes)?;
        Ok(Self { value, owners })
    }

    fn apply(&self, manager: &str, config: &Value) -> Self {
        self.try_apply(manager, config, false).unwrap()
    }

    fn update(&self, manager: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = if self.value.is_null() { json!({}) } else { self.value.clone() };
        change(&mut value);
        let before = Some(&self.value).filter(|value| !value.is_null());
        let writer = writer(manager, Operation::Update);
        let owners = update(before, &value, self.owners.clone(), &writer);
        Self { value, owners }
    }

    fn fields(&self, manager: &str) -> Value {
        let entry = self.owners.entries.iter().find(|entry| entry.manager == manager);
        entry.map(|entry| entry.fields.to_value()).unwrap_or_default()
    }

    fn paths(&self, manager: &str) -> Vec<String> {
        let entry = self.owners.entries.iter().find(|entry| entry.manager == manager);
        entry
            .map(|entry| entry.fields.paths().iter().map(|path| show(path)).collect())
            .unwrap_or_default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `json!` gives it")]
fn deployment(replicas: i64, containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
    })
}

#[test]
fn sets_are_written_as_kubernetes_writes_them() {
    // Proves the form of fieldsV1: elements by all their keys in order, values of sets, objects
    // that are set whole, the dot, and that it is read back.
    let port = json!({"containerPort": 80});
    let object = json!({
        "metadata": {"finalizers": ["a/b"], "ownerReferences": [{"uid": "u", "kind": "X"}]},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "web", "ports": [port], "args": ["x"]}]}},
        },
    });
    let expected = json!({
        "f:metadata": {
            "f:finalizers": {"v:\"a/b\"": {}}, "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}},
        },
        "f:spec": {
            "f:selector": {},
            "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                ".": {}, "f:args": {}, "f:name": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                    ".": {}, "f:containerPort": {},
                }},
            }}}},
        },
    });
    let set = collect(&object);
    assert_eq!(set.to_value(), expected);
    assert_eq!(FieldSet::read(&expected).unwrap(), set);
    let other_order = json!({"k:{\"protocol\":\"TCP\",\"containerPort\":80}": {}});
    let step = Step::element([("containerPort", json!(80)), ("protocol", json!("TCP"))]);
    assert!(FieldSet::read(&other_order).unwrap().has(&[step]));
    for wrong in [json!({"x:a": {}}), json!({"f:a": 1}), json!([]), json!({"k:[]": {}})] {
        assert!(FieldSet::read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sets_are_sets() {
    // Proves union, difference (of exactly the paths), what is common, and the fields above.
    let (one, two) = (FieldSet::of(&["a.b", "a.c", "d"]), FieldSet::of(&["a", "a.c"]));
    assert_eq!(one.union(&two), FieldSet::of(&["a", "a.b", "a.c", "d"]));
    assert_eq!(one.minus(&two), FieldSet::of(&["a.b", "d"]));
    assert_eq!(two.minus(&one), FieldSet::of(&["a"]));
    assert_eq!(one.common(&two), FieldSet::of(&["a.c"]));
    assert_eq!(one.with_parents(), FieldSet::of(&["a", "a.b", "a.c", "d"]));
    assert!(one.minus(&one).is_empty());
}

#[test]
fn who_creates_owns_all_that_is_said() {
    // Proves what an Update entry has after a create, that what every object has is nobody's, and
    // that a change moves the field, and nothing else, to who made it.
    let live = Live::default().update("maker", |value| {
        *value = deployment(1, json!([{"name": "a", "image": "a:1"}]));
    });
    let expected = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {
                ".": {}, "f:image": {}, "f:name": {},
            }}}},
        },
    });
    assert_eq!(live.fields("maker"), expected);
    let later = live.update("scaler", |value| value["spec"]["replicas"] = json!(5));
    assert_eq!(later.paths("scaler"), [".spec.replicas"]);
    assert!(!later.paths("maker").contains(&".spec.replicas".to_owned()));
    assert_eq!(later.paths("maker").len(), live.paths("maker").len() - 1);
    let none = Live { owners: Owners::default(), ..live };
    let untouched = none.update("scaler", |value| value["spec"]["replicas"] = json!(5));
    assert_eq!(untouched.owners, Owners::default(), "nobody begins to keep track");
}

#[test]
fn what_others_want_otherwise_is_a_conflict() {
    // Proves the conflict, its text, that equal values are shared, and that force takes over.
    let live = Live::default().apply("one", &deployment(1, json!([{"name": "a", "image": "a:1"}])));
    let live = live.update("edit", |value| value["spec"]["replicas"] = json!(5));
    let said = live.try_apply("two", &json!({"spec": {"replicas": 2}}), false).unwrap_err();
    assert_eq!(
        Conflict::message(&said),
        "Apply failed with 1 conflict: conflict with \"edit\" using apps/v1: .spec.replicas"
    );
    let image = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:2"},
    ]}}}});
    let said = live.try_apply("two", &image, false).unwrap_err();
    let expected = "Apply failed with 2 conflicts: conflicts with \"edit\" using apps/v1:\n\
                    - .spec.replicas\nconflicts with \"one\":\n\
                    - .spec.template.spec.containers[name=\"a\"].image";
    assert_eq!(Conflict::message(&said), expected);
    let shared = live.apply("two", &json!({"spec": {"replicas": 5}}));
    assert_eq!(shared.value, live.value);
    assert_eq!(shared.paths("two"), [".spec.replicas"]);
    assert_eq!(shared.paths("edit"), [".spec.replicas"]);
    let forced = live.try_apply("two", &image, true).unwrap();
    assert_eq!(forced.value["spec"]["replicas"], 2);
    assert!(forced.paths("edit").is_empty());
    assert!(!forced.paths("one").iter().any(|path| path.ends_with("image")));
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_has_it() {
    // Proves pruning: a field, an element with what the server filled in, what two applied, what
    // was changed by another, and that what was never applied stays.
    let both = json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]);
    let mut live = Live::default().apply("one", &deployment(1, both));
    for at in 0..2 {
        live.value["spec"]["template"]["spec"]["containers"][at]["imagePullPolicy"] =
            json!("Always");
    }
    live.value["spec"]["paused"] = json!(false);
    live.value["metadata"]["uid"] = json!("u");
    let one = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "a:1"},
    ]}}}});
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "u"},
        "spec": {"paused": false, "template": {"spec": {"containers": [
            {"name": "a", "image": "a:1", "imagePullPolicy": "Always"},
        ]}}},
    });
    assert_eq!(live.apply("one", &one).value, expected);

    let second = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [
        {"name": "b", "image": "b:1", "env": [{"name": "E", "value": "1"}]},
    ]}}}});
    let shared = live.apply("two", &second).apply("one", &one);
    let containers = &shared.value["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["name"], "b", "the other still has it: {containers}");
    assert_eq!(containers[1]["env"], json!([{"name": "E", "value": "1"}]));
    let edited = live.update("edit", |value| value["spec"]["replicas"] = json!(5));
    assert_eq!(edited.apply("one", &one).value["spec"]["replicas"], 5);
}

#[test]
fn what_nobody_owns_beside_it_stays_in_status_and_metadata() {
    // Proves that a manager who withdraws its last value takes nothing along that a controller or an
    // agent, which own nothing, wrote beside it; however it withdraws it.
    let gate = json!({"type": "gate", "status": "True"});
    let first = json!({
        "metadata": {"name": "p", "annotations": {"mine": "1"}},
        "status": {"conditions": [gate]},
    });
    let mut live = Live::default().apply("gate", &first);
    live.value["metadata"]["annotations"]["theirs"] = json!("2");
    live.value["status"]["phase"] = json!("Running");
    let ready = json!({"type": "Ready", "status": "True"});
    live.value["status"]["conditions"].as_array_mut().unwrap().push(ready.clone());
    let expected = json!({
        "metadata": {"name": "p", "annotations": {"theirs": "2"}},
        "status": {"phase": "Running", "conditions": [ready]},
    });
    let named = json!({"metadata": {"name": "p"}});
    let empty = json!({"metadata": {"name": "p", "annotations": {}}, "status": {}});
    assert_eq!(live.apply("gate", &named).value, expected);
    let emptied = live.apply("gate", &empty);
    assert_eq!(emptied.value, expected);
    assert_eq!(emptied.apply("gate", &named).value, expected);
}

#[test]
fn objects_without_owners_are_applied_well() {
    // Proves that what is there belongs to `before-first-apply`: another value is a conflict, the
    // same one is shared, and nothing is pruned.
    let live = Live { value: deployment(1, json!([])), owners: Owners::default() };
    let said = live.try_apply("one", &json!({"spec": {"replicas": 2}}), false).unwrap_err();
    assert_eq!(said[0].owner, "\"before-first-apply\" using apps/v1");
    let later = live.apply("one", &json!({"spec": {"replicas": 1}}));
    assert_eq!(later.value, live.value);
    assert_eq!(later.paths("before-first-apply").len(), 4);
}

#[test]
fn lists_are_merged_in_the_applied_order() {
    // Proves the order: elements that both have as applied, those of others where they were.
    let names = |value: &Value| -> Vec<String> {
        let list = value["spec"]["volumes"].as_array().into_iter().flatten();
        list.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = |names: &[&str]| -> Value {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"volumes": list}})
    };
    for (live, config, expected) in [
        (&["a", "b"][..], &["b", "a"][..], &["b", "a"][..]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b"], &["n", "b", "m"], &["a", "n", "b", "m"]),
        (&[], &["a"], &["a"]),
    ] {
        let merged = merge::merge(&list(live), &list(config));
        assert_eq!(names(&merged), expected, "{live:?} {config:?}");
    }
    assert!(
        check(&list(&["a", "a"])).unwrap_err().contains("duplicate entries for key [name=\"a\"]")
    );
    assert!(check(&json!({"spec": {"volumes": [{"emptyDir": {}}]}})).is_err());
}

#[test]
fn owners_are_bounded() {
    // Proves that at most ten who update are told apart, and that no field is lost to the bound.
    let mut live =
        Live::default().update("maker", |value| *value = json!({"data": {"first": "x"}}));
    for number in 0..30 {
        live = live.update(&format!("m{number:02}"), |value| {
            value["data"][format!("k{number}")] = "x".into();
        });
    }
    assert_eq!(live.owners.entries.len(), 10);
    let all =
        live.owners.entries.iter().fold(FieldSet::default(), |all, one| all.union(&one.fields));
    assert_eq!(all.paths().len(), 32);
    assert!(!live.paths("ancient-changes").is_empty());
}

#[test]
fn owners_survive_a_round_trip() {
    // Proves that managedFields are read as they were written, that the same owners at another time
    // leave the object as it was, and what asks for all to be forgotten.
    let live = Live::default().apply("one", &deployment(1, json!([{"name": "a"}])));
    let mut stored = live.value.clone();
    live.owners.write(&Value::Null, &mut stored);
    assert_eq!(Owners::of(&stored).unwrap(), live.owners);
    let mut later = live.owners.clone();
    later.entries[0].time = Some("2027-01-01T00:00:00Z".to_owned());
    let mut again = live.value.clone();
    later.write(&stored, &mut again);
    assert_eq!(again, stored);
    for (sent, is_reset) in [(json!([]), true), (json!([{}]), true), (Value::Null, false)] {
        assert_eq!(Owners::is_reset(&json!({"metadata": {"managedFields": sent}})), is_reset);
    }
}

#[test]
fn sets_are_not_deeper_than_what_can_be_stored() {
    // Proves that of a document as deep as can be read the owners can be read again.
    let deep = (0..120).fold(json!({"end": 1}), |inner, _| json!({ "x": inner }));
    let live = Live::default().apply("one", &json!({"metadata": {}, "data": deep}));
    let later = live.update("two", |value| value["data"]["x"]["x"] = json!(1));
    assert_eq!(later.paths("two"), [".data.x.x"]);
    let mut stored = live.value.clone();
    live.owners.write(&Value::Null, &mut stored);
    let text = stored.to_string();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), stored);
}

/// Documents of a few fields, so that different ones often have the same.
fn documents() -> impl Strategy<Value = Value> {
    let number = || prop::option::of(0..3_i64);
    let element = (prop::sample::select(vec!["a", "b", "c"]), number());
    let elements = prop::collection::vec(element, 0..3).prop_map(|list| {
        let mut seen = Vec::new();
        let mut elements = Vec::new();
        for (name, value) in list {
            if !seen.contains(&name) {
                seen.push(name);
                elements.push(match value {
                    Some(value) => json!({"name": name, "value": value.to_string()}),
                    None => json!({"name": name}),
                });
            }
        }
        elements
    });
    let labels = prop::collection::btree_map("[xyz]", "[12]", 0..3);
    let finalizers = prop::collection::btree_set("[fgh]", 0..3);
    (number(), number(), elements, labels, finalizers).prop_map(
        |(replicas, seconds, env, labels, finalizers)| {
            let mut value = json!({"metadata": {"name": "o"}, "spec": {}});
            for (name, number) in [("replicas", replicas), ("minReadySeconds", seconds)] {
                if let Some(number) = number {
                    value["spec"][name] = number.into();
                }
            }
            if !env.is_empty() {
                value["spec"]["env"] = env.into();
            }
            if !labels.is_empty() {
                value["metadata"]["labels"] = json!(labels);
            }
            if !finalizers.is_empty() {
                value["metadata"]["finalizers"] = json!(finalizers);
            }
            value
        },
    )
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(first in documents(), other in documents(), last in documents()) {
        // Proves that an application repeated leaves object and owners as they are, whoever else
        // has applied before, and that all it says is so.
        let live = Live::default().apply("one", &first);
        let live = live.try_apply("two", &other, true).unwrap();
        let once = live.try_apply("one", &last, true).unwrap();
        prop_assert_eq!(&once, &once.try_apply("one", &last, true).unwrap());
        prop_assert_eq!(&once, &once.apply("one", &last), "there is nothing to conflict with");
        let missing = collect(&last).minus(&same(&last, &once.value));
        prop_assert!(missing.is_empty(), "{:?}", missing.paths());
    }

    #[test]
    fn what_only_one_had_goes_with_them(first in documents(), other in documents()) {
        // Proves that after one lets go of everything, exactly what the other applied is left.
        let nothing = json!({"metadata": {"name": "o"}});
        let live = Live::default().apply("one", &first).try_apply("two", &other, true).unwrap();
        let left = live.apply("one", &nothing);
        let alone = collect(&other);
        let said = collect(&left.value);
        prop_assert!(alone.minus(&said).is_empty(), "{} lost of {}", left.value, other);
        let more = said.minus(&alone).minus(&FieldSet::of(&["spec"]));
        prop_assert!(more.is_empty(), "{} is left of {}", left.value, other);
        prop_assert!(left.paths("one").is_empty());
    }

    #[test]
    fn no_field_of_others_is_changed_without_force(first in documents(), other in documents()) {
        // Proves that without force either there is a conflict, or all that the other applied is so
        // afterwards.
        let live = Live::default().apply("one", &first);
        if let Ok(after) = live.try_apply("two", &other, false) {
            prop_assert!(collect(&first).minus(&same(&first, &after.value)).is_empty());
        } else {
            prop_assert!(!collect(&first).minus(&same(&first, &other)).is_empty());
        }
    }
}
