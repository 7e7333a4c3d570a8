//! A server that answers every call of KV at once and does nothing: what the generator, HTTP/2 and
//! the kernel cost by themselves. No server that does something can be faster in its place.
//!
//! Who asks for a range gets as many pairs as were put by transactions, all of them made before.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Mutex;

use api::etcdserverpb::kv_server::{Kv, KvServer};
use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest,
    TxnResponse,
};
use api::mvccpb::KeyValue;
use clap::Args;
use tonic::{Request, Response, Status};

use crate::load::value;

#[derive(Debug, Args)]
pub(crate) struct Empty {
    /// etcd's flags; all but --listen-client-urls=URL mean nothing here
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

pub(crate) async fn run(empty: &Empty) -> Result<(), Box<dyn Error>> {
    let address = address(&empty.flags).ok_or("--listen-client-urls=http://ADDRESS:PORT")?;
    let server = tonic::transport::Server::builder().add_service(KvServer::new(Answers::default()));
    Ok(server.serve(address).await?)
}

fn address(flags: &[OsString]) -> Option<SocketAddr> {
    let urls = flags.iter().filter_map(|flag| flag.to_str()?.strip_prefix("--listen-client-urls="));
    urls.filter_map(|url| url.strip_prefix("http://")?.parse().ok()).next()
}

#[derive(Default)]
struct Answers {
    pairs: Mutex<Vec<KeyValue>>,
}

/// As the workloads have it.
const VALUE_BYTES: usize = 256;

fn pair(number: u64) -> KeyValue {
    KeyValue {
        key: format!("key{number:010}").into(),
        create_revision: 1 << 20,
        mod_revision: 1 << 20,
        version: 1,
        value: value(number, VALUE_BYTES),
        lease: 0,
    }
}

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

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let kvs = match request.get_ref().range_end.is_empty() {
            true => Vec::new(),
            false => self.pairs.lock().expect("nobody panics with it").clone(),
        };
        Ok(Response::new(RangeResponse { header: header(), kvs, ..RangeResponse::default() }))
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

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let mut pairs = self.pairs.lock().expect("nobody panics with it");
        let begin = pairs.len() as u64;
        pairs.extend((begin..begin + request.get_ref().success.len() as u64).map(pair));
        Ok(Response::new(TxnResponse { header: header(), ..TxnResponse::default() }))
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(CompactionResponse { header: header() }))
    }
}
