//! Reads and writes keys.

use std::time::Duration;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb as pb;
use api::mvccpb::KeyValue;
use openraft_rt::AsyncRuntime;
use store::Response;

use super::Stop;
use super::watcher::end_of;
use crate::chance::Chance;
use crate::cluster::{Asked, Cluster, SimNode};
use crate::history::{Operation, Outcome, Request};
use crate::plan::Plan;
use crate::runtime::{Simulated, world_ns};

/// After so long a client gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// The prefix of all keys but those of leases.
pub(crate) const PREFIX: &str = "k";
/// All keys, those of leases too, are from [`PREFIX`] on and before this.
pub(crate) const END: &str = "m";

pub(super) struct Client {
    cluster: Cluster,
    plan: Plan,
    number: usize,
    count: u64,
    stop: Stop,
    /// The newest revision that it has seen of some key.
    seen: i64,
}

impl Client {
    pub(super) fn new(cluster: Cluster, plan: Plan, number: usize, stop: Stop) -> Client {
        Client { cluster, plan, number, count: 0, stop, seen: 0 }
    }

    pub(super) async fn run(mut self) {
        while !self.stop.is_set() {
            let think = self.cluster.world.chance.number(0..self.plan.think_ms_max * 1000);
            Simulated::sleep(Duration::from_micros(think)).await;
            if self.number == 0 && self.cluster.world.chance.number(0..self.plan.compact_every) == 0
            {
                self.compact().await;
            }
            self.count += 1;
            let value = format!("{}-{}", self.number, self.count);
            let chance = &self.cluster.world.chance;
            let request = choose(chance, self.plan.keys, self.seen, value);
            self.perform(request).await;
        }
    }

    async fn perform(&mut self, request: Request) {
        let Some(member) = self.cluster.world.chance.pick(&self.cluster.running()) else {
            return Simulated::sleep(Duration::from_millis(100)).await;
        };
        self.perform_at(member, request).await;
    }

    async fn perform_at(&mut self, member: u64, request: Request) {
        let world = &self.cluster.world;
        let invoked_ns = world_ns();
        let wish = request.clone();
        let asked = self.cluster.ask(member, PATIENCE, |node| async move {
            match perform(&node, wish).await {
                Ok(outcome) => outcome,
                Err(error) => of_error(&error),
            }
        });
        let outcome = match asked.await {
            Asked::Answered(outcome) => outcome,
            Asked::NotSent => Outcome::Refused,
            Asked::Lost => Outcome::Unknown,
        };
        if let Outcome::Read { kvs, .. } = &outcome {
            self.seen = kvs.first().map_or(0, |kv| kv.mod_revision);
        }
        let client = self.number;
        world.log.line(format_args!("c{client} m{member} {request:?} {}", brief(&outcome)));
        world.count(match outcome {
            Outcome::Unknown => "operations of unknown outcome",
            Outcome::Refused => "operations refused",
            _ => "operations answered",
        });
        let answered_ns = world_ns();
        let done = Operation { client, member, request, invoked_ns, answered_ns, outcome };
        world.history.operations.lock().push(done);
    }

    async fn compact(&self) {
        let world = &self.cluster.world;
        let Some(member) = world.chance.pick(&self.cluster.running()) else { return };
        let asked = self.cluster.ask(member, PATIENCE, |node| async move {
            let revision = node.reader().revision();
            let op = Some(Op::Compact(pb::CompactionRequest { revision, physical: false }));
            let applied = node.propose(Command { op, ..Command::default() }).await;
            applied.is_ok_and(|applied| applied.result.is_ok()).then_some(revision)
        });
        if let Asked::Answered(Some(revision)) = asked.await {
            world.log.line(format_args!("compacted at {revision}"));
            world.count("compactions");
        }
    }
}

/// Reads everything at each of the members, so that what they hold in the end is judged too.
pub(crate) async fn read_all(cluster: &Cluster, plan: &Plan, members: &[u64]) {
    let mut client = Client::new(cluster.clone(), plan.clone(), plan.clients, Stop::default());
    for member in members {
        client.perform_at(*member, Request::List).await;
    }
}

/// One more thing to do. `seen`: the revision of some key; `value`: what nobody else writes.
pub(crate) fn choose(chance: &Chance, keys: u64, seen: i64, value: String) -> Request {
    let number = chance.number(0..keys);
    let key = format!("{PREFIX}{number}");
    let other = || format!("{PREFIX}{}", (number + 1) % (keys + 1));
    match chance.index(100) {
        0..=26 => Request::Put { key, value, lease: 0 },
        27..=35 => Request::Pair { keys: [key, other()], value },
        36..=45 => Request::Delete { key },
        46 => Request::Clear,
        47..=64 => Request::Swap { key, expected: seen, value },
        65..=84 => Request::Get { key, serializable: false },
        85..=92 => Request::Get { key, serializable: true },
        _ => Request::List,
    }
}

/// As the server does it.
async fn perform(node: &SimNode, request: Request) -> Result<Outcome, raft::Error> {
    match request {
        Request::Get { key, serializable } => {
            if !serializable {
                node.linearizable().await?;
            }
            Ok(read(node, key.into_bytes(), Vec::new()))
        }
        Request::List => {
            node.linearizable().await?;
            Ok(read(node, PREFIX.into(), END.into()))
        }
        request => {
            let applied = node.propose(command(request)).await?;
            Ok(applied.result.map_or(Outcome::Refused, outcome))
        }
    }
}

fn read(node: &SimNode, key: Vec<u8>, range_end: Vec<u8>) -> Outcome {
    let (key, range_end) = (key.into(), range_end.into());
    let request = pb::RangeRequest { key, range_end, ..pb::RangeRequest::default() };
    match node.reader().range(None, &request) {
        Ok(found) => Outcome::Read { revision: revision(&found.header), kvs: found.kvs },
        Err(_) => Outcome::Unknown,
    }
}

pub(crate) fn command(request: Request) -> Command {
    use pb::request_op::Request as Inner;
    let wrap = |request| pb::RequestOp { request: Some(request) };
    let op = match request {
        Request::Put { key, value, lease } => Op::Put(put(key, value, lease)),
        Request::Delete { key } => {
            let key = key.into();
            Op::DeleteRange(pb::DeleteRangeRequest { key, ..pb::DeleteRangeRequest::default() })
        }
        Request::Clear => {
            let (key, range_end) = (PREFIX.into(), end_of(PREFIX).into());
            let all = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
            Op::DeleteRange(all)
        }
        Request::Pair { keys, value } => {
            let puts = keys.map(|key| wrap(Inner::RequestPut(put(key, value.clone(), 0))));
            Op::Txn(pb::TxnRequest { success: puts.into(), ..pb::TxnRequest::default() })
        }
        Request::Swap { key, expected, value } => {
            let compare = pb::Compare {
                result: pb::compare::CompareResult::Equal as i32,
                target: pb::compare::CompareTarget::Mod as i32,
                key: key.clone().into(),
                target_union: Some(pb::compare::TargetUnion::ModRevision(expected)),
                ..pb::Compare::default()
            };
            let read = pb::RangeRequest { key: key.clone().into(), ..pb::RangeRequest::default() };
            Op::Txn(pb::TxnRequest {
                compare: vec![compare],
                success: vec![wrap(Inner::RequestPut(put(key, value, 0)))],
                failure: vec![wrap(Inner::RequestRange(read))],
            })
        }
        Request::Get { .. } | Request::List => unreachable!("reads are no commands"),
    };
    Command { op: Some(op), ..Command::default() }
}

pub(crate) fn put(key: String, value: String, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), lease, ..pb::PutRequest::default() }
}

pub(crate) fn outcome(response: Response) -> Outcome {
    match response {
        Response::Put(put) => Outcome::Put { revision: revision(&put.header) },
        Response::DeleteRange(deleted) => {
            Outcome::Deleted { revision: revision(&deleted.header), count: deleted.deleted }
        }
        Response::Txn(txn) if txn.succeeded => Outcome::Swapped { revision: revision(&txn.header) },
        Response::Txn(txn) => {
            Outcome::Read { revision: revision(&txn.header), kvs: read_by(txn.responses) }
        }
        _ => Outcome::Unknown,
    }
}

fn read_by(responses: Vec<pb::ResponseOp>) -> Vec<KeyValue> {
    use pb::response_op::Response as Inner;
    let kvs = responses.into_iter().filter_map(|response| match response.response {
        Some(Inner::ResponseRange(range)) => Some(range.kvs),
        _ => None,
    });
    kvs.flatten().collect()
}

pub(crate) fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

/// What [`raft::Node::propose`] promises of its errors.
fn of_error(error: &raft::Error) -> Outcome {
    match error {
        raft::Error::Timeout
        | raft::Error::LeaderChanged
        | raft::Error::Fatal(_)
        | raft::Error::Stopped => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Read { revision, kvs } => format!("read {} keys at r{revision}", kvs.len()),
        other => format!("{other:?}"),
    }
}
