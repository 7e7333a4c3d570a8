//! A member that holds something else than the others, which no checksum has seen.

use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{AlarmRequest, AlarmType, PutRequest};
use store::Revision;
use store::engine::{Batch, Engine, SledEngine};
use testkit::{Cluster, Kind, Member, bounded, eventually, skipped, subject};

use crate::membership::CHANGE_S_MAX;

const CACHE_BYTES: usize = 1 << 20;

/// Proves that a member started with the check of its data at the start ends when the others hold
/// something else, and says what to do about it; and that the leader, started with the check from
/// time to time, raises the alarm for a member that did not look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_other_data_is_found_at_its_start_and_from_time_to_time() {
    if subject!().kind == Kind::Etcd {
        return skipped("members that differ", "what is tampered with is berth's engine");
    }
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    let id = cluster.id(victim).await;
    let mut kv = cluster.clients(victim).kv;
    let put = PutRequest { key: "k".into(), value: "true".into(), ..PutRequest::default() };
    let written = bounded(kv.put(put)).await.expect("it is written").into_inner();
    let revision = written.header.expect("every answer has one").revision;
    assert!(cluster.member_mut(victim).terminate().success());
    change_value(cluster.member(victim), revision);

    let flags = cluster.member(victim).flags.clone();
    cluster.member_mut(victim).flags.push("--experimental-initial-corrupt-check=true".into());
    cluster.member_mut(victim).launch();
    assert!(!cluster.member_mut(victim).wait_end().await.success());
    let log = cluster.member(victim).log();
    let told = log.lines().filter(|line| line.contains("cannot go on")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("add it again with an empty data directory"), "{}", told[0]);

    // It does not look for itself now, and the others do.
    cluster.member_mut(victim).flags = flags;
    for at in cluster.others(victim) {
        cluster.member_mut(at).terminate();
        cluster.member_mut(at).flags.push("--corrupt-check-time=200ms".into());
        cluster.member_mut(at).restart().await;
    }
    cluster.member_mut(victim).restart().await;
    let others = cluster.others(victim);
    eventually("the alarm is raised for it", CHANGE_S_MAX, async || {
        let list = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
        let mut maintenance = cluster.clients(others[0]).maintenance;
        let alarms = bounded(maintenance.alarm(list)).await;
        let alarms = alarms.map_err(|refusal| refusal.to_string())?.into_inner().alarms;
        let raised = alarms.iter().any(|it| it.member_id == id && it.alarm() == AlarmType::Corrupt);
        raised.then_some(()).ok_or_else(|| format!("{alarms:?}"))
    })
    .await;
}

/// Changes what the engine of a stopped member holds as the value of `revision`, by its own means,
/// so that all of its checksums are right.
fn change_value(member: &Member, revision: i64) {
    let engine = SledEngine::open(member.data_dir().join("db"), CACHE_BYTES)
        .expect("the engine of a stopped member opens");
    let key = [b"v", &Revision::new(revision, 0).to_bytes()[..]].concat();
    assert_eq!(engine.get(&key).expect("it can be read").as_deref(), Some(&b"true"[..]));
    let mut changed = Batch::default();
    changed.put(key, b"lies".to_vec());
    engine.apply(changed).expect("it takes the change");
    engine.flush().expect("it can be flushed");
}
