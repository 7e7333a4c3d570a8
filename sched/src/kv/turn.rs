//! Taking turns at a name: etcd's recipe for locks and elections.
//!
//! Each who wants the name writes a key below it under a lease; the key that was created first has
//! the turn, and the others wait for the one just before them. So nobody is passed over, and one
//! that leaves wakes one.

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{
    DeleteRangeRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest,
};
use api::mvccpb::KeyValue;
use api::mvccpb::event::EventType;
use bytes::Bytes;
use futures::StreamExt;

use super::{Error, Kind, Pause, Result, Store, is_absent, keys, put};

/// A place in the queue at a name.
pub struct Turn {
    store: Store,
    prefix: Bytes,
    key: Bytes,
    revision: i64,
}

impl Turn {
    /// Takes a place at `name`, with `value`, under a lease. A place that this lease has already is
    /// that place.
    ///
    /// # Errors
    /// The store does not answer, or refuses, also because the lease is gone.
    pub async fn queue(
        store: &Store,
        name: &str,
        lease: i64,
        value: impl Into<Bytes>,
    ) -> Result<Self> {
        let prefix = Bytes::from(format!("{name}/"));
        let key = Bytes::from(format!("{name}/{lease:x}"));
        let value = value.into();
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let request = TxnRequest {
            compare: vec![is_absent(key.clone())],
            success: vec![put(key.clone(), value, lease)],
            failure: vec![RequestOp { request: Some(Request::RequestRange(get)) }],
        };
        let mut pause = Pause::default();
        // Once more after a lost answer finds the place taken, by us.
        let answer = loop {
            match store.txn(request.clone()).await {
                Err(error) if error.is_passing() && pause.failures() < 3 => pause.wait().await,
                answer => break answer?,
            }
        };
        let revision = created(&answer)?;
        Ok(Self { store: store.clone(), prefix, key, revision })
    }

    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The revision at which the place was taken. It grows from holder to holder: what is guarded
    /// can refuse those that come with a smaller one.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Waits until all that came before are gone. Cancel safe: the place is kept.
    ///
    /// # Errors
    /// The place is lost, or the store refuses. That it cannot be reached is waited out.
    pub async fn wait(&self) -> Result<()> {
        let mut pause = Pause::default();
        loop {
            match self.step().await {
                Ok(true) => return Ok(()),
                Ok(false) => pause.reset(),
                // The one before may be gone by now: look again.
                Err(error) if error.is_passing() || error.kind == Kind::Compacted => {
                    pause.wait().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it is our turn; if not, waits for the one before to go.
    async fn step(&self) -> Result<bool> {
        let request = RangeRequest {
            limit: 1,
            max_create_revision: self.revision - 1,
            sort_target: SortTarget::Create.into(),
            sort_order: SortOrder::Descend.into(),
            ..keys::range(&self.prefix)
        };
        let answer = self.store.range(request).await?;
        let Some(before) = answer.kvs.first() else { return self.is_still_there().await };
        let from = answer.header.as_ref().map_or(0, |header| header.revision);
        let create = WatchCreateRequest {
            key: before.key.clone(),
            start_revision: from + 1,
            ..WatchCreateRequest::default()
        };
        let mut watch = self.store.watch(create).await?;
        while let Some(answer) = watch.next().await {
            if answer?.events.iter().any(|event| event.r#type() == EventType::Delete) {
                return Ok(false);
            }
        }
        Err(Error::unreachable("the watch has ended"))
    }

    async fn is_still_there(&self) -> Result<bool> {
        let own = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        match self.store.range(own).await?.kvs.first() {
            Some(kv) if kv.create_revision == self.revision => Ok(true),
            _ => Err(Error::new(Kind::NoLease, "the place was lost: its lease has ended")),
        }
    }

    /// Gives the place up.
    ///
    /// # Errors
    /// The store does not answer, or refuses; the lease ends the place then.
    pub async fn leave(&self) -> Result<()> {
        let request = DeleteRangeRequest { key: self.key.clone(), ..DeleteRangeRequest::default() };
        self.store.delete_range(request).await.map(|_| ())
    }
}

/// The one whose turn it is at `name`, and the revision it was looked up at.
///
/// # Errors
/// The store does not answer, or refuses.
pub async fn first(store: &Store, name: &str) -> Result<(Option<KeyValue>, i64)> {
    let request = RangeRequest {
        limit: 1,
        sort_target: SortTarget::Create.into(),
        sort_order: SortOrder::Ascend.into(),
        ..keys::range(format!("{name}/").as_bytes())
    };
    let mut answer = store.range(request).await?;
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    Ok((answer.kvs.pop(), revision))
}

/// The revision at which the key was created that a transaction put or found.
fn created(answer: &TxnResponse) -> Result<i64> {
    if answer.succeeded {
        return Ok(answer.header.as_ref().map_or(0, |header| header.revision));
    }
    let found = answer.responses.first().and_then(|response| response.response.as_ref());
    match found {
        Some(Response::ResponseRange(range)) if !range.kvs.is_empty() => {
            Ok(range.kvs[0].create_revision)
        }
        _ => Err(Error::unreachable("the store answered something else")),
    }
}
