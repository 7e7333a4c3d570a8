//! One crash: set the point, pass it, see the process gone, start it again, look for what it held.

use std::os::unix::process::ExitStatusExt;

use testkit::{Cluster, Member, Place, eventually, subject};

use crate::acknowledged::Acknowledged;
use crate::gofail;
use crate::load::Load;

/// No load takes a fraction of this to pass its point.
const PASSED_S_MAX: u64 = 120;
const SIGABRT: i32 = 6;

/// A member alone, whose points are served.
pub(crate) async fn one_member() -> Cluster {
    members(1).await
}

/// Members whose points are served.
pub(crate) async fn members(count: usize) -> Cluster {
    let places = (0..count).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::prepare(subject!(), places, &[]).await;
    (0..count).for_each(|at| gofail::serve(cluster.member_mut(at)));
    cluster.launch();
    for at in 0..count {
        cluster.member_mut(at).wait_serving().await;
    }
    cluster
}

/// Crashes the member at `at` at `point` under `load`, starts it again and checks it. Whatever is
/// sent goes to the member at `target`.
pub(crate) async fn crash(
    cluster: &mut Cluster,
    (at, target): (usize, usize),
    point: &str,
    load: &mut dyn Load,
    acknowledged: &mut Acknowledged,
) {
    let mut before = cluster.clients(target);
    acknowledged.put(&mut before).await.expect("a healthy member takes writes");
    gofail::set(cluster.member(at), point, "panic").await;
    let clients = cluster.clients(target);
    eventually(&format!("{point} is passed"), PASSED_S_MAX, async || {
        if !cluster.member_mut(at).is_running() {
            return Ok(());
        }
        load.pass(&clients, acknowledged).await;
        Err("the process lives".to_owned())
    })
    .await;
    let member = cluster.member_mut(at);
    wait_crash(member, point).await;
    member.restart().await;
    acknowledged.check(&member.clients(), false).await;
}

/// The member ends by itself, and says at which point.
pub(crate) async fn wait_crash(member: &mut Member, point: &str) {
    let status = member.wait_end().await;
    let log = member.log();
    assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}:\n{log}");
    let last = format!("failpoint panic: {point}");
    assert!(log.lines().any(|line| line == last), "{point} is not in the log:\n{log}");
}
