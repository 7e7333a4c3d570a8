//! The Lock service.

use api::v3lockpb::lock_server::Lock as LockService;
use api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::client::{Client, told};
use super::queue::{Place, attended};
use crate::grpc::Context;
use crate::grpc::errors::Error;

#[derive(Clone)]
pub(in crate::grpc) struct Lock {
    pub(in crate::grpc) context: Context,
}

#[tonic::async_trait]
impl LockService for Lock {
    /// A caller that goes away while it waits takes its key along.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let client = Client::new(&self.context, metadata);
        let locked = attended(|gone| lock(client, asked, gone)).await;
        locked.map(Response::new).map_err(told)
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let client = Client::new(&self.context, metadata);
        let deleted = client.delete(asked.key).await.map_err(told)?;
        Ok(Response::new(UnlockResponse { header: deleted.header }))
    }
}

async fn lock(
    client: Client,
    asked: LockRequest,
    gone: CancellationToken,
) -> Result<LockResponse, Status> {
    let place = Place::take(&client, &asked.name, asked.lease, Bytes::new()).await?;
    let first = place.first(&client, Error::MutexSessionExpired);
    match gone.run_until_cancelled(first).await {
        Some(Ok(header)) => Ok(LockResponse { header, key: place.key }),
        ended => {
            place.leave(&client).await;
            Err(ended.and_then(Result::err).unwrap_or(Status::cancelled("the caller has gone")))
        }
    }
}
