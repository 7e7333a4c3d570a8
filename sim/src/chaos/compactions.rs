//! Compacts now and then, close behind what has happened: watchers that were away for long are then
//! told so, and go on from there.

use std::time::Duration;

use api::etcdserverpb::CompactionRequest;
use testkit::Clients;

use super::Scene;
use super::clients::bounded;
use crate::clients::Stop;

/// Revisions behind the newest one that the chronicle has, at most. It must have heard of all that
/// goes: it is what everybody else is judged by.
const BEHIND_MAX: u64 = 400;
const LOOK: Duration = Duration::from_millis(100);

/// Until told to stop.
pub(super) async fn compact(scene: Scene, stop: Stop) {
    let mut members = scene.connect();
    let mut next = scene.chance.millis(500..3000);
    let mut waited = Duration::ZERO;
    while !stop.is_set() {
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
        if waited >= next {
            (waited, next) = (Duration::ZERO, scene.chance.millis(500..3000));
            let member = scene.chance.index(members.len());
            once(&scene, &mut members[member]).await;
        }
    }
}

async fn once(scene: &Scene, clients: &mut Clients) {
    let behind = i64::try_from(scene.chance.number(0..BEHIND_MAX)).expect("few");
    let revision = {
        let mut truth = scene.history.truth.lock();
        let revision = truth.last_revision() - behind;
        if revision <= truth.compactions.last().copied().unwrap_or(1) {
            return;
        }
        // Before it is asked for: it may take effect though its answer is lost.
        truth.compactions.push(revision);
        revision
    };
    let physical = scene.chance.one_in_thousand(300);
    bounded(clients.kv.compact(CompactionRequest { revision, physical })).await;
}
