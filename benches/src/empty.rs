//! A server that answers every call of KV at once and does nothing: what the generator, HTTP/2 and
//! the kernel cost by themselves. No server that does something can be faster in its place.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;

use api::etcdserverpb::kv_server::{Kv, KvServer};
use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest,
    TxnResponse,
};
use clap::Args;
use tonic::{Request, Response, Status};

#[derive(Debug, Args)]
pub(crate) struct Empty {
    /// etcd's flags; all but --listen-client-urls=URL mean nothing here
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

pub(crate) async fn run(empty: &Empty) -> Result<(), Box<dyn Error>> {
    let address = address(&empty.flags).ok_or("--listen-client-urls=http://ADDRESS:PORT")?;
    let server = tonic::transport::Server::builder().add_service(KvServer::new(Answers));
    Ok(server.serve(address).await?)
}

fn address(flags: &[OsString]) -> Option<SocketAddr> {
    let urls = flags.iter().filter_map(|flag| flag.to_str()?.strip_prefix("--listen-client-urls="));
    urls.filter_map(|url| url.strip_prefix("http://")?.parse().ok()).next()
}

struct Answers;

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 1 << 60,
        member_id: 1 << 60,
        revision: 1 << 20,
        raft_term: 2,
    })
}

#[tonic::async_trait]
impl Kv for Answers {
    type RangeStreamStream = futures::stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Ok(Response::new(futures::stream::empty()))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { header: header(), ..PutResponse::default() }))
    }

    async fn range(&self, _: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        Ok(Response::new(RangeResponse { header: header(), ..RangeResponse::default() }))
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        Ok(Response::new(DeleteRangeResponse {
            header: header(),
            ..DeleteRangeResponse::default()
        }))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Ok(Response::new(TxnResponse { header: header(), ..TxnResponse::default() }))
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(CompactionResponse { header: header() }))
    }
}
