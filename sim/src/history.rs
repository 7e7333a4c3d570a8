//! What clients did and were told, and what the members say happened.
//!
//! The first is all that a client of the real thing could know. The second is the one order of all
//! changes that the members have to agree on; it is taken from what each of them applies, compared
//! as it comes in, and then used to judge the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::berthpb::{Command, command::Op};
use api::mvccpb::KeyValue;
use parking_lot::Mutex;
use raft::Observe;
use store::{Applied, EventBatch, EventKind, Response};

use crate::log::Log;
use crate::runtime::world_ns;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Put {
        key: String,
        value: String,
        lease: i64,
    },
    /// Puts both keys, in one transaction.
    Pair {
        keys: [String; 2],
        value: String,
    },
    Delete {
        key: String,
    },
    /// Deletes all keys but those of leases.
    Clear,
    /// Puts if the key was last changed at `expected`, else reads it.
    Swap {
        key: String,
        expected: i64,
        value: String,
    },
    /// Reads one key; `serializable`: what the member has, however old.
    Get {
        key: String,
        serializable: bool,
    },
    /// Reads all keys, those of leases too.
    List,
}

impl Request {
    /// The value that it writes, which nobody else ever does.
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Request::Put { value, .. }
            | Request::Pair { value, .. }
            | Request::Swap { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The keys that it writes its value to.
    pub(crate) fn written(&self) -> &[String] {
        match self {
            Request::Put { key, .. } | Request::Swap { key, .. } => std::slice::from_ref(key),
            Request::Pair { keys, .. } => keys,
            _ => &[],
        }
    }
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Put {
        revision: i64,
    },
    Deleted {
        revision: i64,
        count: i64,
    },
    /// A transaction did what it was to do.
    Swapped {
        revision: i64,
    },
    /// What there was at the revision.
    Read {
        revision: i64,
        kvs: Vec<KeyValue>,
    },
    /// It certainly was not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Outcome {
    pub(crate) fn revision(&self) -> Option<i64> {
        match self {
            Outcome::Put { revision }
            | Outcome::Deleted { revision, .. }
            | Outcome::Swapped { revision }
            | Outcome::Read { revision, .. } => Some(*revision),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }
}

/// Printed when it is wrong.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "who asked whom is for whoever reads the finding")]
pub(crate) struct Operation {
    pub client: usize,
    pub member: u64,
    pub request: Request,
    pub invoked_ns: u64,
    pub answered_ns: u64,
    pub outcome: Outcome,
}

/// One watch, over all the streams it was carried by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub prefix: String,
    pub prev_kv: bool,
    /// In order.
    pub sessions: Vec<Session>,
}

impl Watch {
    /// How many it was told of.
    pub(crate) fn events(&self) -> u64 {
        let heard = self.sessions.iter().flat_map(|session| &session.heard);
        heard
            .map(|heard| if let Heard::Events(events) = heard { events.len() as u64 } else { 0 })
            .sum()
    }
}

/// One stream of a watch.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The first revision that was asked for; 0: whatever comes.
    pub start: i64,
    pub heard: Vec<Heard>,
}

#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// The header's revision.
    Created(i64),
    /// One response.
    Events(Vec<api::mvccpb::Event>),
    /// All up to the revision was sent.
    Progress(i64),
    /// History before this revision is gone.
    Compacted(i64),
}

/// A lease as its owner knows it; printed when it is wrong.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "its id is for whoever reads the finding")]
pub(crate) struct Lease {
    pub id: i64,
    pub ttl_s: u64,
    /// The keys that hang on it, each with the revision of the put that attached it.
    pub keys: Vec<(String, i64)>,
    /// Of the grant and of each keep-alive that was answered: when it was sent.
    pub alive_ns: Vec<u64>,
    /// It was asked to end.
    pub revoked: bool,
}

/// Everything of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct History {
    pub operations: Arc<Mutex<Vec<Operation>>>,
    pub watches: Arc<Mutex<Vec<Watch>>>,
    pub leases: Arc<Mutex<Vec<Lease>>>,
    pub truth: Arc<Mutex<Truth>>,
    log: Log,
}

/// The changes in their order, as the members apply them.
#[derive(Default)]
pub(crate) struct Truth {
    pub changes: BTreeMap<i64, Change>,
    /// The revisions of compactions: of those that members applied; of real processes, of those that
    /// were asked for.
    pub compactions: Vec<i64>,
    /// Members that applied something else than others.
    pub disagreements: Vec<String>,
    /// The memberships in their order, by the index of their entry.
    pub memberships: Memberships,
}

/// Of each entry that changed the membership: the sets of voters, in each of which a majority decides.
pub(crate) type Memberships = BTreeMap<u64, Vec<BTreeSet<u64>>>;

/// What one revision changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub batch: Arc<EventBatch>,
    /// When the first member applied it.
    pub first_ns: u64,
    /// By a lease that ran out.
    pub expiry: bool,
}

impl History {
    pub(crate) fn new(log: Log) -> History {
        History {
            operations: Arc::default(),
            watches: Arc::default(),
            leases: Arc::default(),
            truth: Arc::default(),
            log,
        }
    }

    /// What is told to whoever applies as member `id`.
    pub(crate) fn observer(&self, id: u64) -> Arc<dyn Observe> {
        Arc::new(Observer { id, history: self.clone() })
    }
}

struct Observer {
    id: u64,
    history: History,
}

impl Observe for Observer {
    fn applied(&self, command: &Command, applied: &Applied, _again: bool) {
        let mut truth = self.history.truth.lock();
        if let (Some(Op::Compact(compact)), Ok(Response::Compact(_))) =
            (&command.op, &applied.result)
        {
            truth.compactions.push(compact.revision);
        }
        let expiry = matches!(command.op, Some(Op::ExpireLeases(_)));
        for batch in &applied.events {
            let id = self.id;
            self.history.log.line(format_args!("m{id} applies {}", short(batch)));
            truth.learn(id, batch, expiry);
        }
    }

    fn members_changed(&self, index: u64, voters: &[BTreeSet<u64>]) {
        self.history.log.line(format_args!("m{} has voters {voters:?} at {index}", self.id));
        let mut truth = self.history.truth.lock();
        let known = truth.memberships.entry(index).or_insert_with(|| voters.to_vec());
        if known != voters {
            let what =
                format!("member {} has voters {voters:?} at {index}, others {known:?}", self.id);
            truth.disagreements.push(what);
        }
    }

    fn replaced(&self) {
        self.history.log.line(format_args!("m{} takes a snapshot", self.id));
    }
}

impl Truth {
    fn learn(&mut self, id: u64, batch: &Arc<EventBatch>, expiry: bool) {
        let known = self.changes.entry(batch.revision).or_insert_with(|| Change {
            batch: batch.clone(),
            first_ns: world_ns(),
            expiry,
        });
        if !same(&known.batch, batch) && self.disagreements.len() < 10 {
            let (was, is) = (short(&known.batch), short(batch));
            self.disagreements.push(format!("member {id} applies {is}, others had {was}"));
        }
    }

    pub(crate) fn last_revision(&self) -> i64 {
        self.changes.last_key_value().map_or(1, |(revision, _)| *revision)
    }
}

/// The version before may be gone at one member and not yet at another; all else must be equal.
fn same(one: &EventBatch, other: &EventBatch) -> bool {
    one.events.len() == other.events.len()
        && one.events.iter().zip(&other.events).all(|(one, other)| {
            (one.kind, &one.kv, one.revision) == (other.kind, &other.kv, other.revision)
        })
}

pub(crate) fn short(batch: &EventBatch) -> String {
    let mut line = format!("r{}", batch.revision);
    for event in &batch.events {
        let key = String::from_utf8_lossy(&event.kv.key);
        let value = String::from_utf8_lossy(&event.kv.value);
        match event.kind {
            EventKind::Put => line += &format!(" {key}={value}"),
            EventKind::Delete => line += &format!(" -{key}"),
        }
    }
    line
}
