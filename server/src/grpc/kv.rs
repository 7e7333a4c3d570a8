//! The KV service.
//!
//! A network client's `Range` does not come through [`Kv`] but through [`super::large_range`],
//! which answers the same in bounded memory.

use api::berthpb::command::Op;
use api::etcdserverpb::kv_server::Kv as KvService;
use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use store::RangePlan;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::Context;
use super::errors::Error;
use super::proposal::answer;
use super::quota::{put_cost, txn_cost};
use super::range_stream::{self, RangeStream};
use super::reads;

#[derive(Clone)]
pub(super) struct Kv {
    pub(super) context: Context,
}

#[tonic::async_trait]
impl KvService for Kv {
    type RangeStreamStream = RangeStream;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let (metadata, _, range) = request.into_parts();
        Ok(Response::new(self.read_range(&metadata, range).await?))
    }

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeStream>, Status> {
        let (metadata, _, range) = request.into_parts();
        range_stream::check(&range)?;
        let plan = self.plan(&metadata, range).await?;
        Ok(Response::new(range_stream::start(self.context.clone(), plan)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.context.admit(request.metadata(), put_cost(request.get_ref())).await?;
        let (metadata, _, put) = request.into_parts();
        let mut put = answer!(self.context.submit(&metadata, Op::Put(put)).await?, Put);
        self.context.fill(&mut put.header);
        Ok(Response::new(put))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let (metadata, _, range) = request.into_parts();
        let op = Op::DeleteRange(range);
        let mut deleted = answer!(self.context.submit(&metadata, op).await?, DeleteRange);
        self.context.fill(&mut deleted.header);
        Ok(Response::new(deleted))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.context.admit(request.metadata(), txn_cost(request.get_ref())).await?;
        let (metadata, _, txn) = request.into_parts();
        let mut done = if store::txn_is_read_only(&txn) {
            self.read_txn(&metadata, txn).await?
        } else {
            answer!(self.context.submit(&metadata, Op::Txn(txn)).await?, Txn)
        };
        self.context.fill(&mut done.header);
        Ok(Response::new(done))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let principal = self.context.require_admin(request.metadata())?;
        let compaction = request.into_inner();
        let physical = compaction.physical;
        let op = Op::Compact(compaction);
        let mut compacted = answer!(self.context.propose(principal, op).await?, Compact);
        if physical {
            self.context.node().compact_physically().await.map_err(Error::from)?;
        }
        self.context.fill(&mut compacted.header);
        Ok(Response::new(compacted))
    }
}

impl Kv {
    async fn read_range(
        &self,
        metadata: &MetadataMap,
        range: RangeRequest,
    ) -> Result<RangeResponse, Error> {
        self.context.node().reader().check_range(&range)?;
        self.context.barrier(range.serializable).await?;
        let principal = self.context.authenticate(metadata)?;
        let short = reads::is_short(&range);
        let caller = principal.clone();
        let read = move |reader: &store::Reader| reader.range(caller.as_ref(), &range);
        let mut found = self.context.read(short, read).await?;
        self.context.check_still(principal.as_ref())?;
        self.context.fill(&mut found.header);
        Ok(found)
    }

    /// The answer to `range`, with its keys chosen and its values not yet read.
    pub(super) async fn plan(
        &self,
        metadata: &MetadataMap,
        range: RangeRequest,
    ) -> Result<RangePlan, Error> {
        self.context.node().reader().check_range(&range)?;
        self.context.barrier(range.serializable).await?;
        let principal = self.context.authenticate(metadata)?;
        let short = reads::is_short(&range);
        let caller = principal.clone();
        let read = move |reader: &store::Reader| reader.range_plan(caller.as_ref(), &range);
        let plan = self.context.read(short, read).await?;
        self.context.check_still(principal.as_ref())?;
        Ok(plan)
    }

    /// A transaction that changes nothing does not go through the log.
    async fn read_txn(
        &self,
        metadata: &MetadataMap,
        txn: TxnRequest,
    ) -> Result<TxnResponse, Error> {
        self.context.node().reader().check_txn(&txn)?;
        self.context.barrier(reads::is_serializable(&txn)).await?;
        let principal = self.context.authenticate(metadata)?;
        let short = reads::txn_is_short(&txn);
        let caller = principal.clone();
        let read = move |reader: &store::Reader| reader.txn(caller.as_ref(), &txn);
        let done = self.context.read(short, read).await?;
        self.context.check_still(principal.as_ref())?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
