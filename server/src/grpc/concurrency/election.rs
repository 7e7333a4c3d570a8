//! The Election service.

use api::etcdserverpb::{RequestOp, TxnResponse};
use api::v3electionpb::election_server::Election as ElectionService;
use api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::client::{Client, if_created_at, put, remove, told};
use super::observe;
use super::queue::{Place, attended, prefix};
use crate::grpc::Context;
use crate::grpc::errors::Error;

#[derive(Clone)]
pub(in crate::grpc) struct Election {
    pub(in crate::grpc) context: Context,
}

#[tonic::async_trait]
impl ElectionService for Election {
    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    /// A caller that goes away while it waits takes its key along.
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let client = self.client(metadata);
        let elected = attended(|gone| campaign(client, asked, gone)).await;
        elected.map(Response::new).map_err(told)
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let client = self.client(metadata);
        let done = proclaim(&client, asked).await.map_err(told)?;
        Ok(Response::new(ProclaimResponse { header: done.header }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let found = self.client(metadata).first_under(&prefix(&asked.name)).await.map_err(told)?;
        let kv = found.kvs.into_iter().next().ok_or(Error::ElectionNoLeader)?;
        Ok(Response::new(LeaderResponse { header: found.header, kv: Some(kv) }))
    }

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let client = self.client(metadata);
        Ok(Response::new(observe::start(client, prefix(&asked.name))))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let leader = asked.leader.ok_or(Error::LeaderKeyMissing)?;
        let client = self.client(metadata);
        let resigned = if_still_leads(&client, &leader, remove(&leader.key)).await.map_err(told)?;
        Ok(Response::new(ResignResponse { header: resigned.header }))
    }
}

impl Election {
    fn client(&self, metadata: MetadataMap) -> Client {
        Client::new(&self.context, metadata)
    }
}

async fn campaign(
    client: Client,
    asked: CampaignRequest,
    gone: CancellationToken,
) -> Result<CampaignResponse, Status> {
    let place = Place::take(&client, &asked.name, asked.lease, asked.value.clone()).await?;
    let leader = LeaderKey {
        name: asked.name,
        key: place.key.clone(),
        rev: place.revision,
        lease: place.lease,
    };
    let elected = async {
        if place.found.as_ref().is_some_and(|found| found.value != asked.value) {
            say(&client, &leader, asked.value).await?;
        }
        place.first(&client, Error::ElectionNotLeader).await
    };
    match gone.run_until_cancelled(elected).await {
        // As etcd's, the header is from when the key was put.
        Some(Ok(_)) => Ok(CampaignResponse { header: place.header, leader: Some(leader) }),
        ended => {
            place.leave(&client).await;
            Err(ended.and_then(Result::err).unwrap_or(Status::cancelled("the caller has gone")))
        }
    }
}

async fn proclaim(client: &Client, asked: ProclaimRequest) -> Result<TxnResponse, Status> {
    let mut leader = asked.leader.ok_or(Error::LeaderKeyMissing)?;
    leader.lease = client.session(leader.lease).await?;
    say(client, &leader, asked.value).await
}

async fn say(client: &Client, leader: &LeaderKey, value: Bytes) -> Result<TxnResponse, Status> {
    let said = if_still_leads(client, leader, put(&leader.key, value, leader.lease)).await?;
    if said.succeeded { Ok(said) } else { Err(Error::ElectionNotLeader.into()) }
}

async fn if_still_leads(
    client: &Client,
    leader: &LeaderKey,
    op: RequestOp,
) -> Result<TxnResponse, Status> {
    client.txn(if_created_at(&leader.key, leader.rev, op)).await
}
