//! Carries plans out, under the fence of the one who leads.
//!
//! Whatever ends a deposed leader's right to write ends it in the store itself: each transaction
//! compares the leader's own key.

use std::sync::Arc;

use api::etcdserverpb::{Compare, TxnRequest};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use super::action::{Action, Event, How, Removal, Strip};
use super::id::Id;
use super::kinds::{Known, Object};
use super::queue::Barrier;
use crate::kv::{self, Pause, Store};
use crate::objects::{Delete, Document, Error, ErrorKind, Objects, Propagation, Result, kinds};

/// Writes of one plan that are under way at once.
const AT_ONCE: usize = 32;
/// Operations of one transaction; etcd refuses more than 128.
const OPERATIONS_MAX: usize = 100;

/// An action and the object that it changes, as it was seen.
pub(crate) struct Order {
    pub(crate) action: Action,
    pub(crate) known: Option<Known>,
}

/// How a plan went.
pub(crate) struct Outcome {
    /// What the view must have before the same is planned again.
    pub(crate) barrier: Barrier,
    /// `Some`: the rest was not done.
    pub(crate) error: Option<Error>,
}

pub(crate) struct Executor {
    pub(crate) objects: Objects,
    pub(crate) store: Store,
    pub(crate) fence: Compare,
    pub(crate) events: mpsc::Sender<Event>,
}

/// What one write leaves behind.
#[derive(Default)]
struct Trace {
    revision: i64,
    gone: Option<(Id, String)>,
}

impl Executor {
    /// Does everything in its order; creations and deletions that follow each other at once. Ends
    /// at the first failure: the plan is made anew then.
    pub(crate) async fn carry_out(self: Arc<Self>, orders: Vec<Order>) -> Outcome {
        let mut outcome = Outcome { barrier: Barrier::default(), error: None };
        let mut batch = Vec::new();
        for order in orders {
            match order.action {
                // Nothing rests on what people are told.
                Action::Tell(event) => drop(self.events.try_send(event)),
                Action::Create(_) | Action::Delete(_) | Action::Strip(_) => batch.push(order),
                Action::Update(_) | Action::Record(_) => {
                    if !self.together(std::mem::take(&mut batch), &mut outcome).await {
                        return outcome;
                    }
                    if !self.together(vec![order], &mut outcome).await {
                        return outcome;
                    }
                }
            }
        }
        self.together(batch, &mut outcome).await;
        outcome
    }

    /// Says whether all went well.
    async fn together(&self, orders: Vec<Order>, outcome: &mut Outcome) -> bool {
        let calls = orders.into_iter().map(|order| self.one(order));
        let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
        while let Some((trace, error)) = calls.next().await {
            outcome.barrier.revision = outcome.barrier.revision.max(trace.revision);
            outcome.barrier.gone.extend(trace.gone);
            outcome.error = outcome.error.take().or(error);
        }
        outcome.error.is_none()
    }

    async fn one(&self, order: Order) -> (Trace, Option<Error>) {
        let mut trace = Trace::default();
        let done = match order.action {
            Action::Create(object) => self.create(&object, &mut trace).await,
            Action::Update(object) => self.update(order.known, object, &mut trace).await,
            Action::Delete(removal) => self.delete(&removal, &mut trace).await,
            Action::Strip(strip) => self.strip(&strip, &mut trace).await,
            Action::Record(records) => self.record(records).await,
            Action::Tell(_) => Ok(()),
        };
        (trace, done.err())
    }

    /// Until the answer is a certain one: a lost answer may stand for a pod that is there, and
    /// nothing may be planned before that is known.
    async fn create(&self, object: &Object, trace: &mut Trace) -> Result<()> {
        let mut pause = Pause::default();
        loop {
            match object.create(&self.objects).await {
                Ok(revision) => {
                    trace.revision = revision;
                    return Ok(());
                }
                Err(error) if error.is_passing() => pause.wait().await,
                Err(error) if error.kind == ErrorKind::AlreadyExists => {
                    trace.revision = self.revision(&object.id()).await;
                    // It was made by the try whose answer is lost.
                    return if pause.failures() > 0 { Ok(()) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Of an object that is there, as far as one knows.
    async fn revision(&self, id: &Id) -> i64 {
        let Some(resource) = kinds::by_plural(&id.resource) else { return 0 };
        let found = self.objects.get_document(resource, namespace(id), &id.name).await;
        found.ok().flatten().map_or(0, |document| document.revision)
    }

    async fn update(&self, known: Option<Known>, object: Object, trace: &mut Trace) -> Result<()> {
        let Some(known) = known else {
            return Err(Error::new(ErrorKind::Conflict, "the object is gone"));
        };
        let revision = known.update(&self.objects, object).await?;
        // An object whose last finalizer was taken off is gone with no revision of its own.
        trace.revision = if revision > known.revision() { revision } else { 0 };
        Ok(())
    }

    async fn delete(&self, removal: &Removal, trace: &mut Trace) -> Result<()> {
        let id = &removal.id;
        let resource = kinds::by_plural(&id.resource);
        let resource = resource.ok_or_else(|| unknown(id))?;
        let delete = Delete {
            uid: Some(removal.uid.clone()),
            grace_s: (removal.how == How::Now).then_some(0),
            propagation: match removal.how {
                How::Foreground => Propagation::Foreground,
                How::Gracefully | How::Now => Propagation::Background,
            },
            ..Delete::default()
        };
        match self.objects.delete_document(resource, namespace(id), &id.name, &delete).await {
            Ok(document) if document.metadata()["deletionTimestamp"].is_string() => {
                trace.revision = document.revision;
                if removal.how == How::Now && !has_finalizers(&document) {
                    trace.gone = Some((id.clone(), removal.uid.clone()));
                }
                Ok(())
            }
            Ok(_) => {
                trace.gone = Some((id.clone(), removal.uid.clone()));
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                trace.gone = Some((id.clone(), removal.uid.clone()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn strip(&self, strip: &Strip, trace: &mut Trace) -> Result<()> {
        let id = &strip.id;
        let resource = kinds::by_plural(&id.resource).ok_or_else(|| unknown(id))?;
        let found = self.objects.get_document(resource, namespace(id), &id.name).await?;
        let Some(found) = found.filter(|found| found.revision == strip.revision) else {
            return Err(Error::new(ErrorKind::Conflict, "the object has changed meanwhile"));
        };
        let before = found.value.clone();
        let mut after = found;
        let metadata = &mut after.value["metadata"];
        if let Some(list) = metadata["finalizers"].as_array_mut() {
            list.retain(|one| one.as_str() != strip.finalizer.as_deref());
        }
        if let Some(list) = metadata["ownerReferences"].as_array_mut() {
            list.retain(|one| !strip.owners.iter().any(|uid| one["uid"] == uid.as_str()));
        }
        let uid = before["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let written = self.objects.update_document(resource, &before, after).await?;
        if written.revision > strip.revision {
            trace.revision = written.revision;
        } else {
            trace.gone = Some((id.clone(), uid));
        }
        Ok(())
    }

    async fn record(&self, records: Vec<(String, Option<String>)>) -> Result<()> {
        for chunk in records.chunks(OPERATIONS_MAX) {
            let success = chunk.iter().cloned().map(|(key, value)| match value {
                Some(value) => kv::put(key, value, 0),
                None => kv::delete(key),
            });
            let request = TxnRequest {
                compare: vec![self.fence.clone()],
                success: success.collect(),
                failure: Vec::new(),
            };
            if !self.store.txn(request).await?.succeeded {
                return Err(Error::new(ErrorKind::Fenced, "somebody else has taken over"));
            }
        }
        Ok(())
    }
}

fn namespace(id: &Id) -> Option<&str> {
    Some(id.namespace.as_str()).filter(|namespace| !namespace.is_empty())
}

fn has_finalizers(document: &Document) -> bool {
    document.metadata()["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

fn unknown(id: &Id) -> Error {
    Error::new(ErrorKind::Invalid, format!("{id} is of no kind that is kept"))
}
