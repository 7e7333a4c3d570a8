//! The store as one caller's client: every call bears the caller's credentials and is checked,
//! admitted and proposed as if it had come over the network.

use api::berthpb::Principal;
use api::berthpb::command::Op as Command;
use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::kv_server::Kv as _;
use api::etcdserverpb::lease_server::Lease as _;
use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
    WatchCreateRequest,
};
use api::mvccpb::{Event, KeyValue};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use watch::WatchStream;

use crate::grpc::Context;
use crate::grpc::errors::Error;
use crate::grpc::kv::Kv;
use crate::grpc::lease::Lease;
use crate::grpc::watch::Gate;

/// What etcd grants a session that brings no lease.
const LEASE_TTL_S: i64 = 60;

#[derive(Clone)]
pub(super) struct Client {
    context: Context,
    metadata: MetadataMap,
}

impl Client {
    /// For whoever sent `metadata`.
    pub(super) fn new(context: &Context, metadata: MetadataMap) -> Self {
        Self { context: context.clone(), metadata }
    }

    /// `lease`, or a new one if it is 0.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let lease = Lease { context: self.context.clone() };
        let grant = LeaseGrantRequest { id: 0, ttl: LEASE_TTL_S };
        Ok(lease.lease_grant(self.call(grant)).await?.into_inner().id)
    }

    /// Ends a lease that was granted by [`Client::session`], with the server's own rights.
    pub(super) async fn revoke(&self, id: i64) -> Result<(), Status> {
        self.take_back(Command::LeaseRevoke(LeaseRevokeRequest { id })).await
    }

    /// Deletes a key that its caller made, if it is still the one that was created at that
    /// revision; with the server's own rights.
    pub(super) async fn remove_own(&self, key: &Bytes, revision: i64) -> Result<(), Status> {
        self.take_back(Command::Txn(if_created_at(key, revision, remove(key)))).await
    }

    /// What was made with the caller's rights must go even if those have ended since: a token
    /// expires, a role is taken away. `root` is there, and may everything, while auth is on.
    async fn take_back(&self, command: Command) -> Result<(), Status> {
        let auth = self.context.node().reader().auth();
        let root = || Principal { user: "root".to_owned(), auth_revision: auth.revision() };
        let principal = auth.enabled().then(root);
        self.context.propose(principal, command).await?;
        Ok(())
    }

    pub(super) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        Ok(self.kv().txn(self.call(txn)).await?.into_inner())
    }

    pub(super) async fn get(&self, key: Bytes) -> Result<RangeResponse, Status> {
        self.range(RangeRequest { key, ..Default::default() }).await
    }

    /// The oldest key under `prefix`.
    pub(super) async fn first_under(&self, prefix: &Bytes) -> Result<RangeResponse, Status> {
        self.range(first_under(prefix)).await
    }

    /// The youngest key under `prefix` that is no younger than that revision.
    pub(super) async fn last_under(
        &self,
        prefix: &Bytes,
        max_create_revision: i64,
    ) -> Result<RangeResponse, Status> {
        let sort_order = SortOrder::Descend as i32;
        self.range(RangeRequest { sort_order, max_create_revision, ..first_under(prefix) }).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<DeleteRangeResponse, Status> {
        let request = DeleteRangeRequest { key, ..Default::default() };
        Ok(self.kv().delete_range(self.call(request)).await?.into_inner())
    }

    /// What happens to a key, or to all up to `range_end`, from a revision on.
    pub(super) fn watch(
        &self,
        key: Bytes,
        range_end: Bytes,
        start_revision: i64,
    ) -> Result<Changes, Status> {
        let request = WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        self.context.permit(&self.metadata, &request)?;
        let mut stream = self.context.node().hub().open();
        stream.create(&request).map_err(|_| Error::Internal("no such watch".to_owned()))?;
        Ok(Changes { stream })
    }

    /// `header` with what only the server knows.
    pub(super) fn filled(&self, header: ResponseHeader) -> Option<ResponseHeader> {
        let mut header = Some(header);
        self.context.fill(&mut header);
        header
    }

    async fn range(&self, range: RangeRequest) -> Result<RangeResponse, Status> {
        Ok(self.kv().range(self.call(range)).await?.into_inner())
    }

    fn kv(&self) -> Kv {
        Kv { context: self.context.clone() }
    }

    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }
}

/// What a watch sees.
pub(super) struct Changes {
    stream: WatchStream,
}

impl Changes {
    /// The next events, in order. `None`: history is gone where the watch would begin, so that
    /// what there is now has to be read again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Event>>, Status> {
        loop {
            let stopped = || Error::from(raft::Error::Stopped);
            let response = self.stream.next().await.ok_or_else(stopped)?;
            if response.canceled {
                return Ok(None);
            }
            if !response.events.is_empty() {
                let events = response.events.into_iter().map(Event::decode);
                let events = events.collect::<Result<_, _>>();
                return events.map(Some).map_err(|error| Status::internal(error.to_string()));
            }
        }
    }
}

pub(super) fn first_under(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: end_of_prefix(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Default::default()
    }
}

/// The first key after all that begin with `prefix`, which ends with a slash.
pub(super) fn end_of_prefix(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The key was created at that revision; 0: there is no such key.
pub(super) fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

/// `op`, if the key is still the one that was created at that revision.
pub(super) fn if_created_at(key: &Bytes, revision: i64, op: RequestOp) -> TxnRequest {
    let compare = vec![created_at(key, revision)];
    TxnRequest { compare, success: vec![op], failure: Vec::new() }
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key: key.clone(), value, lease, ..Default::default() };
    RequestOp { request: Some(Op::RequestPut(put)) }
}

pub(super) fn read(range: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestRange(range)) }
}

pub(super) fn remove(key: &Bytes) -> RequestOp {
    let delete = DeleteRangeRequest { key: key.clone(), ..Default::default() };
    RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

/// The first key that the operation `number` of a transaction has read.
pub(super) fn first_read(done: &TxnResponse, number: usize) -> Option<&KeyValue> {
    use api::etcdserverpb::response_op::Response;
    match done.responses.get(number)?.response.as_ref()? {
        Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

/// An error as etcd's services on top of its own client tell it: in the store's words, without its
/// code. What passes by itself keeps the code that tells clients to try again.
pub(super) fn told(status: Status) -> Status {
    match status.code() {
        tonic::Code::Unavailable => status,
        _ => Status::unknown(status.message()),
    }
}
