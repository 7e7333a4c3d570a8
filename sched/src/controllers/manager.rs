//! The loop of the one who leads: changes come in, plans are made on what is seen, and carried out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;

use super::action::Action;
use super::endpoints;
use super::executor::{Executor, Order, Outcome};
use super::id::{Controller, Id, Work};
use super::plans::View;
use super::queue::{Barrier, Queue};
use super::routes;
use super::world::World;
use crate::kv::follow::{Change, Follower, News};
use crate::objects::{ErrorKind, REGISTRY, clock};

/// Plans that are carried out at once.
const RUNNING_MAX: usize = 64;
/// How long nothing is looked at when nothing is due: a bound, not a beat.
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct Manager {
    executor: Arc<Executor>,
    domain: String,
    world: World,
    records: BTreeMap<String, String>,
    queue: Queue,
    running: FuturesUnordered<BoxFuture<'static, (Work, Outcome)>>,
}

impl Manager {
    pub(crate) fn new(executor: Executor, domain: &str) -> Self {
        Self {
            executor: Arc::new(executor),
            domain: domain.to_owned(),
            world: World::default(),
            records: BTreeMap::new(),
            queue: Queue::default(),
            running: FuturesUnordered::new(),
        }
    }

    /// Works until the right to is lost. What is read here is read after that right was gained, so
    /// it has all that a leader before wrote.
    pub(crate) async fn run(mut self) {
        let store = self.executor.store.clone();
        let mut objects = Follower::new(store.clone(), format!("{REGISTRY}/"));
        let mut records = Follower::new(store, endpoints::records_root(&self.domain));
        let mut is_known = (false, false);
        loop {
            if is_known == (true, true) {
                self.start();
            }
            let due = self.until_due();
            tokio::select! {
                news = objects.next() => if let News::Changes(changes) = news {
                    self.take(changes.list, changes.revision);
                    is_known.0 = true;
                },
                news = records.next() => if let News::Changes(changes) = news {
                    self.take_records(changes.list);
                    is_known.1 = true;
                },
                Some((work, outcome)) = self.running.next() => {
                    if !self.finish(work, outcome) {
                        return;
                    }
                }
                () = tokio::time::sleep(due) => {}
            }
        }
    }

    fn until_due(&self) -> Duration {
        if self.running.len() >= RUNNING_MAX {
            return IDLE;
        }
        let due = self.queue.next_due().map(|at| at.duration_since(clock::now()));
        // A millisecond more, so that the time has come indeed.
        let due = due.map(|wait| Duration::try_from(wait).unwrap_or_default());
        due.map_or(IDLE, |wait| (wait + Duration::from_millis(1)).min(IDLE))
    }

    fn take(&mut self, changes: Vec<Change>, revision: i64) {
        let touched = self.world.apply(changes, revision);
        for touched in touched {
            for work in routes::works(&self.world, &touched) {
                self.queue.add(work);
            }
        }
        let world = &self.world;
        self.queue.advance(|barrier| is_past(world, barrier));
    }

    fn take_records(&mut self, changes: Vec<Change>) {
        let root = endpoints::records_root(&self.domain);
        for change in changes {
            let key = String::from_utf8_lossy(change.key()).into_owned();
            let mut parts = key.strip_prefix(&root).unwrap_or_default().split('/');
            let service = (parts.next(), parts.next());
            if let (Some(namespace), Some(service)) = service {
                let id = Id::new("services", namespace, service);
                self.queue.add(Work::new(Controller::Endpoints, id));
            }
            match change {
                Change::Put(kv) => {
                    let value = String::from_utf8_lossy(&kv.value).into_owned();
                    self.records.insert(key, value);
                }
                Change::Delete(_) => drop(self.records.remove(&key)),
            }
        }
    }

    /// Plans as much as may run at once.
    fn start(&mut self) {
        let now = clock::now();
        while self.running.len() < RUNNING_MAX
            && let Some(work) = self.queue.next(now)
        {
            self.plan(work, now);
        }
    }

    fn plan(&mut self, work: Work, now: Timestamp) {
        let view = View { world: &self.world, records: &self.records, domain: &self.domain, now };
        let plan = view.plan(&work);
        if let Some(at) = plan.again {
            self.queue.add_at(work.clone(), at);
        }
        if plan.actions.is_empty() {
            self.queue.done(work, None);
            return;
        }
        let known = |action: &Action| match action {
            Action::Update(object) => {
                self.world.entry(&object.id()).and_then(|entry| entry.known.clone())
            }
            _ => None,
        };
        let orders: Vec<Order> = plan
            .actions
            .into_iter()
            .map(|action| Order { known: known(&action), action })
            .collect();
        let executor = self.executor.clone();
        self.running.push(Box::pin(async move {
            let outcome = executor.carry_out(orders).await;
            (work, outcome)
        }));
    }

    /// Says whether there is any sense in going on.
    fn finish(&mut self, work: Work, outcome: Outcome) -> bool {
        let Outcome { barrier, error } = outcome;
        match error {
            None => self.queue.done(work, Some(barrier)),
            Some(error) if error.kind == ErrorKind::Fenced => {
                tracing::info!("the controllers stop: {error}");
                return false;
            }
            Some(error) => {
                if error.kind == ErrorKind::Conflict {
                    tracing::debug!(id = %work.id, controller = ?work.controller, "again: {error}");
                } else {
                    tracing::warn!(id = %work.id, controller = ?work.controller, "failed: {error}");
                }
                self.queue.failed(work, barrier, clock::now());
            }
        }
        let world = &self.world;
        self.queue.advance(|barrier| is_past(world, barrier));
        true
    }
}

/// Whether the view has what a plan wrote.
fn is_past(world: &World, barrier: &Barrier) -> bool {
    let is_gone =
        |(id, uid): &(Id, String)| world.entry(id).is_none_or(|entry| entry.meta.uid != *uid);
    world.revision >= barrier.revision && barrier.gone.iter().all(is_gone)
}
