//! Objects in a real store.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::events::{Recorder, Severity, reference};
use super::*;
use crate::kv;
use crate::kv::testing::Etcd;

fn config_map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("default".to_owned()),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn pod(name: &str, node: Option<&str>) -> Pod {
    let value = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web:1"}]},
    });
    serde_json::from_value(value).unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("within 20 s")
}

#[tokio::test]
async fn objects_are_written_only_over_what_was_read() {
    // Proves the life of an object: created once with uid, time and revision; replaced at the
    // revision read, else a conflict; modified over somebody else's change; deleted once.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store);
    let first = objects.create(&config_map("a")).await.unwrap();
    assert!(first.metadata.uid.is_some() && first.metadata.creation_timestamp.is_some());
    assert_eq!(first.metadata.resource_version, Some(first.revision.to_string()));
    let again = objects.create(&config_map("a")).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again}");

    let set = |key: &'static str| {
        move |object: &mut ConfigMap| {
            object.data.get_or_insert_default().insert(key.to_owned(), "1".to_owned());
        }
    };
    let second = objects.update(&first, set("x")).await.unwrap();
    assert!(second.revision > first.revision);
    let stale = objects.update(&first, set("y")).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
    let change = |object: &mut ConfigMap| {
        set("y")(object);
        true
    };
    let third = objects.modify(Some("default"), "a", change).await.unwrap().unwrap();
    assert_eq!(third.data.as_ref().unwrap().len(), 2);
    assert_eq!(objects.get(Some("default"), "a").await.unwrap(), Some(third));

    objects.delete::<ConfigMap>(Some("default"), "a", &Delete::default()).await.unwrap();
    let gone = objects.delete::<ConfigMap>(Some("default"), "a", &Delete::default()).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
    let gone = objects.update(&second, set("z")).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");
}

#[tokio::test]
async fn unknown_fields_and_leases_survive_a_change() {
    // Proves that a typed change keeps fields that the type does not know, counts the generation
    // up only with the spec, stores no resourceVersion, and leaves the key under its lease.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store.clone());
    let lease = kv::Lease::grant(&store, 60).await.unwrap();
    let pods = Pod::resource().unwrap();
    let mut value = serde_json::to_value(pod("web", None)).unwrap();
    value["spec"]["containers"][0]["ours"] = 7.into();
    let beside = Beside { lease: lease.id(), ..Beside::default() };
    objects.create_beside(pods, value, &beside).await.unwrap();

    let stored = objects.get::<Pod>(Some("default"), "web").await.unwrap().unwrap();
    assert_eq!(stored.metadata.generation, Some(1));
    let with_status = objects
        .update(&stored, |pod| pod.status.get_or_insert_default().message = Some("so".into()))
        .await
        .unwrap();
    assert_eq!(with_status.metadata.generation, Some(1));
    let image = |pod: &mut Pod| {
        pod.spec.as_mut().unwrap().containers[0].image = Some("web:2".into());
    };
    let changed = objects.update(&with_status, image).await.unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(changed.document().unwrap()["spec"]["containers"][0]["ours"], 7);

    let key = Objects::key::<Pod>(Some("default"), "web");
    let answer = store.range(kv::range(&key)).await.unwrap();
    assert_eq!(answer.kvs[0].lease, lease.id());
    let raw: Value = serde_json::from_slice(&answer.kvs[0].value).unwrap();
    assert!(raw["metadata"].get("resourceVersion").is_none());
}

#[test]
fn what_is_stored_is_read_as_far_as_it_is_asked_for() {
    // Proves that an object read from its text has the fields that its type knows, and the others
    // when they are asked for; that one of those that cannot be read spoils only that; and what is
    // not taken for an object of the kind.
    let read = |text: &str| {
        let key = Objects::key::<ConfigMap>(Some("n"), "a").into();
        let kv = api::mvccpb::KeyValue {
            key,
            value: text.to_owned().into(),
            mod_revision: 7,
            ..Default::default()
        };
        Stored::<ConfigMap>::read(&kv)
    };
    let text = r#"{"metadata": {"name": "a", "namespace": "n"}, "data": {"x": "1"}, "ours": 7}"#;
    let text = text.replacen('{', r#"{"apiVersion": "v1", "kind": "ConfigMap", "#, 1);
    let stored = read(&text).unwrap();
    assert_eq!(stored.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(stored.data.as_ref().unwrap()["x"], "1");
    let mut expected: Value = serde_json::from_str(&text).unwrap();
    expected["metadata"]["resourceVersion"] = "7".into();
    assert_eq!(*stored.document().unwrap(), expected);
    assert_eq!(stored, Stored::new(Document { value: expected, revision: 7 }).unwrap());

    let spoilt = read(&text.replace("\"ours\": 7", "\"ours\": 1e999")).unwrap();
    assert_eq!(spoilt.data, stored.data);
    let error = spoilt.document().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreadable);
    assert!(error.message.starts_with("/registry/configmaps/n/a holds no object: "), "{error}");
    assert_eq!(spoilt, spoilt.clone());
    assert_ne!(spoilt, stored);

    assert!(read(&text.replace(r#""name": "a", "#, "")).is_ok(), "its key has its name");
    let wrong = [("metadata", "meta"), ("ConfigMap", "Pod"), (r#""1""#, "1"), ("}", "")];
    for (part, other) in wrong {
        let error = read(&text.replace(part, other)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreadable, "{other}");
    }
}

#[tokio::test]
async fn a_status_is_replaced_alone() {
    // Proves that a status can be written without a look at the rest: what is returned is what is
    // there then, fields that no type knows stay, the generation too, the same again writes nothing,
    // and nothing is written over a change of somebody else.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store);
    let mut value = serde_json::to_value(pod("web", None)).unwrap();
    value["status"] = json!({"phase": "Pending", "ours": 7});
    let pods = Pod::resource().unwrap();
    objects.create_document(pods, value).await.unwrap();
    let first = objects.get::<Pod>(Some("default"), "web").await.unwrap().unwrap();

    let write = async |stored: &Stored<Pod>, phase: &str| {
        let before = stored.object.status.clone();
        let mut after = before.clone().unwrap();
        after.phase = Some(phase.to_owned());
        objects.update_status(stored, &before, Some(after), |pod, now| pod.status = now).await
    };
    let second = write(&first, "Running").await.unwrap();
    let document = second.document().unwrap();
    let status = &document["status"];
    assert_eq!((&status["phase"], &status["ours"]), (&json!("Running"), &json!(7)));
    assert_eq!(second.metadata.generation, Some(1));
    let read = objects.get::<Pod>(Some("default"), "web").await.unwrap().unwrap();
    assert_eq!(second, read);
    assert_eq!(write(&second, "Running").await.unwrap(), second);
    assert_eq!(write(&first, "Failed").await.unwrap_err().kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn who_lost_the_right_to_write_writes_nothing() {
    // Proves that a fence stops creating, changing and deleting once its key is gone.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store.clone());
    let put = api::etcdserverpb::PutRequest { key: "leader".into(), ..Default::default() };
    let created = store.put(put).await.unwrap().header.unwrap().revision;
    let fenced = objects.fenced(kv::created_at("leader", created));
    let stored = fenced.create(&config_map("a")).await.unwrap();
    let delete =
        api::etcdserverpb::DeleteRangeRequest { key: "leader".into(), ..Default::default() };
    store.delete_range(delete).await.unwrap();
    let create = fenced.create(&config_map("b")).await.map(|_| ());
    let update = fenced.update(&stored, |object| object.immutable = Some(true)).await.map(|_| ());
    let delete = fenced.delete::<ConfigMap>(Some("default"), "a", &Delete::default()).await;
    for outcome in [create, update, delete] {
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Fenced);
    }
    assert_eq!(objects.list::<ConfigMap>(None).await.unwrap().items, vec![stored]);
}

#[tokio::test]
async fn what_is_held_back_is_marked_and_goes_when_let_go() {
    // Proves that a bound pod waits for its agent, that a second deletion only shortens its grace,
    // that finalizers hold an object until the last is off, and that a namespace is Terminating.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store);
    let delete = |grace_s| Delete { grace_s, ..Delete::default() };
    objects.create(&pod("bound", Some("n1"))).await.unwrap();
    for (asked, left) in [(None, 30), (Some(5), 5), (Some(9), 5)] {
        objects.delete::<Pod>(Some("default"), "bound", &delete(asked)).await.unwrap();
        let pod = objects.get::<Pod>(Some("default"), "bound").await.unwrap().unwrap();
        assert!(pod.metadata.deletion_timestamp.is_some());
        assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(left));
    }
    let other = objects.delete::<Pod>(Some("default"), "bound", &Delete::now("another")).await;
    assert_eq!(other.unwrap_err().kind, ErrorKind::Conflict);
    objects.delete::<Pod>(Some("default"), "bound", &delete(Some(0))).await.unwrap();
    assert_eq!(objects.get::<Pod>(Some("default"), "bound").await.unwrap(), None);
    objects.create(&pod("waiting", None)).await.unwrap();
    objects.delete::<Pod>(Some("default"), "waiting", &delete(None)).await.unwrap();
    assert_eq!(objects.get::<Pod>(Some("default"), "waiting").await.unwrap(), None);

    objects.create(&config_map("a")).await.unwrap();
    let orphan = Delete { propagation: Propagation::Orphan, ..Delete::default() };
    objects.delete::<ConfigMap>(Some("default"), "a", &orphan).await.unwrap();
    let held = objects.get::<ConfigMap>(Some("default"), "a").await.unwrap().unwrap();
    assert_eq!(held.metadata.finalizers, Some(vec!["orphan".to_owned()]));
    objects.update(&held, |object| object.metadata.finalizers = None).await.unwrap();
    assert_eq!(objects.get::<ConfigMap>(Some("default"), "a").await.unwrap(), None);

    let metadata = ObjectMeta { name: Some("team".into()), ..ObjectMeta::default() };
    objects.create(&Namespace { metadata, ..Namespace::default() }).await.unwrap();
    objects.delete::<Namespace>(None, "team", &Delete::default()).await.unwrap();
    let ending = objects.get::<Namespace>(None, "team").await.unwrap().unwrap();
    assert_eq!(ending.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    let release = |namespace: &mut Namespace| namespace.spec.as_mut().unwrap().finalizers = None;
    objects.update(&ending, release).await.unwrap();
    assert_eq!(objects.get::<Namespace>(None, "team").await.unwrap(), None);
}

#[tokio::test]
async fn a_mirror_follows_its_kind() {
    // Proves that a mirror has what was there and what changes, tells the names of it, and passes
    // over what is no object of its kind: what was one before is not taken for gone.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store.clone());
    objects.create(&config_map("a")).await.unwrap();
    let mirror = Mirror::<ConfigMap>::new(&objects);
    within(mirror.synced()).await;
    assert!(mirror.is_synced() && mirror.get("default", "a").is_some());
    let mut updates = mirror.updates();
    assert_eq!(Vec::from_iter(within(updates.next()).await), [ObjectName::new("default", "a")]);

    let damage = async |name: &str| {
        let key = Objects::key::<ConfigMap>(Some("default"), name).into();
        let put = api::etcdserverpb::PutRequest { key, value: "{".into(), ..Default::default() };
        store.put(put).await.unwrap();
    };
    damage("bad").await;
    let before = mirror.read();
    objects.delete::<ConfigMap>(Some("default"), "a", &Delete::default()).await.unwrap();
    let last = objects.create(&config_map("b")).await.unwrap();
    within(mirror.reached(last.revision)).await;
    let names: Vec<String> = mirror.read().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["default/b"]);
    assert_eq!(mirror.read().in_namespace("default").count(), 1);
    assert_eq!(before.len(), 1, "a view does not change");

    damage("b").await;
    let last = objects.create(&config_map("c")).await.unwrap();
    within(mirror.reached(last.revision)).await;
    assert!(mirror.get("default", "b").is_some());
    let listed = objects.list::<ConfigMap>(Some("default")).await.unwrap();
    assert_eq!((listed.items.len(), listed.unreadable), (1, 2));
    let error = objects.get::<ConfigMap>(Some("default"), "b").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreadable);
}

#[tokio::test]
async fn the_same_event_counts_up() {
    // Proves that what happens again is counted, that something else is another event, and that
    // events hang on a lease.
    let (_etcd, store) = Etcd::start().await;
    let objects = Objects::new(store.clone());
    let stored = objects.create(&pod("web", None)).await.unwrap();
    let recorder = Recorder::new(objects.clone(), "scheduler", None);
    let about = reference(&stored.object);
    for message in ["0/1 nodes", "0/1 nodes", "0/2 nodes"] {
        recorder.record(&about, Severity::Warning, "FailedScheduling", message).await;
    }
    let events = objects.list::<Event>(Some("default")).await.unwrap().items;
    let mut counts: Vec<_> = events.iter().map(|event| event.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [Some(1), Some(2)]);
    let found = store.range(kv::range(&Objects::prefix::<Event>(None))).await.unwrap();
    assert!(found.kvs.iter().all(|kv| kv.lease != 0));
}
