//! What the script did and what it was promised: every log there was, every entry with the state
//! after it, every snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use api::berthpb::command::Op;
use bytes::Bytes;
use futures::FutureExt;
use openraft::{AsyncRuntime, EntryPayload};
use openraft_rt_tokio::TokioRuntime;

use super::recovery::Found;
use crate::types::{LogId, Payload, Vote};

type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
/// Told when an append is durable.
pub(super) type Told = <Oneshot as openraft::async_runtime::Oneshot>::Receiver<io::Result<()>>;

/// An entry of the log and all before it: logs that went different ways share what they have in
/// common.
pub(super) struct Link {
    pub(super) log_id: LogId,
    pub(super) payload: Payload,
    pub(super) before: Option<Arc<Link>>,
    pub(super) state: State,
}

/// What clients read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) revision: i64,
    pub(super) keys: BTreeMap<Bytes, Stored>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Bytes,
    pub(super) create_revision: i64,
    pub(super) mod_revision: i64,
    pub(super) version: i64,
}

/// The log after one of its records.
#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    /// The last entry; if none is left, the last that was purged.
    pub(super) last: Option<Arc<Link>>,
}

/// What a start after a power failure must find.
#[derive(Clone, Default)]
pub(super) struct Promises {
    /// The last log that was acknowledged, and the last that was submitted: places in the history.
    acknowledged: usize,
    submitted: usize,
    /// The newest snapshot that was finished.
    snapshot: Option<LogId>,
    /// The last entry that was applied.
    applied: Option<LogId>,
}

pub(super) struct Ledger {
    /// One for each record of the log, the first being the empty one.
    history: Vec<Log>,
    links: BTreeMap<LogId, Arc<Link>>,
    /// The bytes of each snapshot, finished or not.
    snapshots: BTreeMap<LogId, Vec<u8>>,
    /// For each purge, how many snapshots there were for it to rest on.
    purges: BTreeMap<LogId, usize>,
    pub(super) promises: Promises,
    waiting: VecDeque<(usize, Told)>,
}

impl Link {
    /// The entry at `index` of the log that ends here.
    pub(super) fn at(self: &Arc<Link>, index: u64) -> Option<&Arc<Link>> {
        let mut link = self;
        while link.log_id.index > index {
            link = link.before.as_ref()?;
        }
        (link.log_id.index == index).then_some(link)
    }

    /// The entries from `index` to here.
    pub(super) fn up_from(self: &Arc<Link>, index: u64) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        let mut link = Some(self);
        while let Some(found) = link.filter(|found| found.log_id.index >= index) {
            links.push(found.clone());
            link = found.before.as_ref();
        }
        links.reverse();
        links
    }

    fn has(self: &Arc<Link>, other: LogId) -> bool {
        self.at(other.index).is_some_and(|link| link.log_id == other)
    }
}

impl Default for State {
    /// Of a new store.
    fn default() -> State {
        State { revision: 1, keys: BTreeMap::new() }
    }
}

impl State {
    /// The rules of etcd, for the few commands that the script gives.
    fn after(mut self, payload: &Payload) -> State {
        let EntryPayload::Normal(proposal) = payload else { return self };
        match &proposal.command().op {
            Some(Op::Put(put)) => {
                self.revision += 1;
                let before = self.keys.get(&put.key);
                let stored = Stored {
                    value: put.value.clone(),
                    create_revision: before.map_or(self.revision, |it| it.create_revision),
                    mod_revision: self.revision,
                    version: before.map_or(0, |it| it.version) + 1,
                };
                self.keys.insert(put.key.clone(), stored);
            }
            Some(Op::DeleteRange(delete)) => {
                self.revision += i64::from(self.keys.remove(&delete.key).is_some());
            }
            // Nobody reads at an older revision here.
            Some(Op::Compact(_)) => {}
            other => panic!("no command of the script: {other:?}"),
        }
        self
    }
}

impl Log {
    fn last_id(&self) -> Option<LogId> {
        self.last.as_ref().map(|link| link.log_id)
    }
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger {
            history: vec![Log::default()],
            links: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            purges: BTreeMap::new(),
            promises: Promises::default(),
            waiting: VecDeque::new(),
        }
    }

    /// The log with all that was submitted.
    pub(super) fn log(&self) -> &Log {
        self.history.last().expect("it begins with one")
    }

    /// What the log became by one record.
    fn note(&mut self, log: Log) {
        self.history.push(log);
        self.promises.submitted = self.history.len() - 1;
    }

    pub(super) fn vote(&mut self, vote: Vote) {
        self.note(Log { vote: Some(vote), ..self.log().clone() });
    }

    pub(super) fn append(&mut self, link: Arc<Link>) {
        self.note(Log { last: Some(link), ..self.log().clone() });
    }

    /// The log ends with `last`, which it has.
    pub(super) fn truncate(&mut self, last: Option<Arc<Link>>) {
        self.note(Log { last, ..self.log().clone() });
    }

    /// The log is purged up to `link`, which `snapshots` snapshots cover.
    pub(super) fn purge(&mut self, link: &Arc<Link>, snapshots: usize) {
        self.purges.insert(link.log_id, snapshots);
        let log = self.log().clone();
        let is_longer = log.last_id().is_some_and(|last| last.index > link.log_id.index);
        let last = if is_longer { log.last } else { Some(link.clone()) };
        self.note(Log { purged: Some(link.log_id), last, vote: log.vote });
    }

    /// Everything submitted so far is durable when `told` says so.
    pub(super) fn expect(&mut self, told: Told) {
        self.waiting.push_back((self.promises.submitted, told));
    }

    /// Everything submitted so far is durable.
    pub(super) fn acknowledged(&mut self) {
        self.promises.acknowledged = self.promises.submitted;
    }

    /// Takes note of what was told meanwhile.
    pub(super) fn hear(&mut self) {
        while let Some((place, told)) = self.waiting.front_mut()
            && let Some(told) = told.now_or_never()
        {
            told.expect("the log tells everyone").expect("its disk does not fail");
            self.promises.acknowledged = self.promises.acknowledged.max(*place);
            self.waiting.pop_front();
        }
    }

    /// An entry behind `before`, in whatever log.
    pub(super) fn link(
        &mut self,
        before: Option<&Arc<Link>>,
        log_id: LogId,
        payload: Payload,
    ) -> Arc<Link> {
        let state = before.map_or_else(State::default, |link| link.state.clone());
        let state = state.after(&payload);
        let link = Arc::new(Link { log_id, payload, before: before.cloned(), state });
        self.links.insert(log_id, link.clone());
        link
    }

    pub(super) fn applied(&mut self, log_id: LogId) {
        self.promises.applied = Some(log_id);
    }

    /// Somebody wrote this snapshot.
    pub(super) fn wrote(&mut self, log_id: LogId, bytes: Vec<u8>) {
        self.snapshots.insert(log_id, bytes);
    }

    /// It is durable here.
    pub(super) fn finished(&mut self, log_id: LogId) {
        self.promises.snapshot = Some(log_id);
    }

    pub(super) fn known(&self, log_id: LogId) -> Result<&Arc<Link>, String> {
        self.links.get(&log_id).ok_or_else(|| format!("nobody ever wrote {log_id}"))
    }

    pub(super) fn is_snapshot(&self, log_id: LogId, bytes: &[u8]) -> bool {
        self.snapshots.get(&log_id).is_some_and(|written| written == bytes)
    }

    /// Whether what a start found is what it had to find.
    pub(super) fn judge(&self, found: &Found, promises: &Promises) -> Result<(), String> {
        let logs = &self.history[promises.acknowledged..=promises.submitted];
        let is_found = |log: &Log| {
            (log.vote, log.purged, log.last_id()) == (found.vote, found.purged, found.last)
        };
        let Some(log) = logs.iter().find(|log| is_found(log)) else {
            return Err(format!(
                "{found:?} is no log between {:?}, which was acknowledged, and the last submitted",
                logs[0].last_id()
            ));
        };
        if found.snapshots.first().copied() < promises.snapshot {
            return Err(format!("snapshot {:?} is gone: {found:?}", promises.snapshot));
        }
        if let Some(purged) = log.purged {
            let covers = found.snapshots.iter().filter(|it| it.index >= purged.index).count();
            if covers < self.purges[&purged] {
                return Err(format!("{covers} snapshots cover the purged log: {found:?}"));
            }
        }
        self.judge_state(found, promises)
    }

    /// The state must have every entry that was applied, and acknowledged by log or snapshot.
    fn judge_state(&self, found: &Found, promises: &Promises) -> Result<(), String> {
        let Some(must) = self.must_have(promises)? else { return Ok(()) };
        let reached = found.reached.ok_or_else(|| format!("there is no state: {found:?}"))?;
        if self.known(reached)?.has(must) {
            Ok(())
        } else {
            Err(format!("the state has not {must}: {found:?}"))
        }
    }

    /// The last of these entries. What was applied before it was acknowledged may be lost: others
    /// have it.
    fn must_have(&self, promises: &Promises) -> Result<Option<LogId>, String> {
        let logged = &self.history[promises.acknowledged].last;
        let mut entry = promises.applied.map(|applied| self.known(applied)).transpose()?;
        while let Some(link) = entry
            && Some(link.log_id) != promises.snapshot
            && !logged.as_ref().is_some_and(|logged| logged.has(link.log_id))
        {
            entry = link.before.as_ref();
        }
        Ok(entry.map(|link| link.log_id))
    }
}
