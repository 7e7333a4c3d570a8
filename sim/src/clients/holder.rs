//! Holds leases: grants one, hangs keys on it, keeps it alive for a while, and lets it go.

use std::time::Duration;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use openraft_rt::AsyncRuntime;
use store::Response;

use super::Stop;
use super::keys::{put, revision};
use crate::cluster::{Asked, Cluster, SimNode};
use crate::history::Lease;
use crate::runtime::{Simulated, world_ns};

const PATIENCE: Duration = Duration::from_secs(6);

const KEYS_MAX: usize = 4;

pub(super) struct Holder {
    cluster: Cluster,
    number: usize,
    count: i64,
    stop: Stop,
}

impl Holder {
    pub(super) fn new(cluster: Cluster, number: usize, stop: Stop) -> Holder {
        Holder { cluster, number, count: 0, stop }
    }

    pub(super) async fn run(mut self) {
        while !self.stop.is_set() {
            self.hold_one().await;
            Simulated::sleep(self.cluster.world.chance.millis(10..2000)).await;
        }
    }

    async fn hold_one(&mut self) {
        self.count += 1;
        let id = i64::try_from(self.number).expect("few") * 1000 + self.count;
        let chance = self.cluster.world.chance.clone();
        let ttl_s = chance.number(2..9);
        let Some(alive_ns) = self.grant(id, ttl_s).await else { return };
        let mut keys = Vec::new();
        for number in 0..=chance.index(KEYS_MAX) {
            let key = format!("lease{id}-{number}");
            keys.extend(self.attach(id, &key).await.map(|revision| (key, revision)));
        }
        let mut lease = Lease { id, ttl_s, keys, alive_ns: vec![alive_ns], revoked: false };
        for _ in 0..chance.index(6) {
            Simulated::sleep(chance.millis(100..ttl_s * 400)).await;
            lease.alive_ns.extend(self.keep_alive(id).await);
        }
        if chance.one_in_thousand(250) {
            lease.revoked = true;
            self.revoke(id).await;
        }
        self.cluster.world.history.leases.lock().push(lease);
    }

    /// What a running member answers; `None`: nothing that can be relied on.
    async fn ask<T, F, Fut>(&self, ask: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(SimNode) -> Fut + Send + 'static,
        Fut: Future<Output = Option<T>> + Send,
    {
        let id = self.cluster.world.chance.pick(&self.cluster.running())?;
        match self.cluster.ask(id, PATIENCE, ask).await {
            Asked::Answered(answer) => answer,
            Asked::NotSent | Asked::Lost => None,
        }
    }

    /// When it was asked for, if it was granted.
    async fn grant(&self, id: i64, ttl: u64) -> Option<u64> {
        let sent = world_ns();
        let ttl = i64::try_from(ttl).expect("few seconds");
        let granted = self.ask(move |node| async move {
            propose(&node, Op::LeaseGrant(LeaseGrantRequest { id, ttl })).await
        });
        granted.await.map(|_| {
            self.cluster.world.log.line(format_args!("lease {id} granted for {ttl} s"));
            self.cluster.world.count("leases granted");
            sent
        })
    }

    async fn attach(&self, id: i64, key: &str) -> Option<i64> {
        let put = put(key.to_owned(), format!("of {id}"), id);
        let attached =
            self.ask(move |node| async move { propose(&node, Op::Put(put)).await }).await;
        match attached {
            Some(Response::Put(put)) => Some(revision(&put.header)),
            _ => None,
        }
    }

    /// When it was sent, if it was answered.
    async fn keep_alive(&self, id: i64) -> Option<u64> {
        let sent = world_ns();
        let kept =
            self.ask(move |node| async move { node.keep_alive(id).await.ok().flatten() }).await;
        self.cluster.world.log.line(format_args!("lease {id} kept alive: {kept:?}"));
        kept.map(|_| sent)
    }

    async fn revoke(&self, id: i64) {
        let revoked = self.ask(move |node| async move {
            propose(&node, Op::LeaseRevoke(LeaseRevokeRequest { id })).await
        });
        let revoked = revoked.await.is_some();
        self.cluster.world.log.line(format_args!("lease {id} revoked: {revoked}"));
    }
}

async fn propose(node: &SimNode, op: Op) -> Option<Response> {
    let applied = node.propose(Command { op: Some(op), ..Command::default() }).await;
    applied.ok()?.result.ok()
}
