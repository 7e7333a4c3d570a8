//! The Lease service.

use api::berthpb::Principal;
use api::berthpb::command::Op;
use api::etcdserverpb::lease_server::Lease as LeaseService;
use api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use rand::Rng;
use store::{Access, LeaseInfo};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use super::errors::{self, Error};
use super::proposal::answer;
use super::quota::LEASE_BYTES;

#[derive(Clone)]
pub(super) struct Lease {
    pub(super) context: Context,
}

#[tonic::async_trait]
impl LeaseService for Lease {
    type LeaseKeepAliveStream = BoxStream<'static, Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        self.context.admit(request.metadata(), LEASE_BYTES).await?;
        let principal = self.context.require_user(request.metadata())?;
        let mut grant = request.into_inner();
        if grant.id == 0 {
            grant.id = rand::rng().random_range(1..=i64::MAX);
        }
        grant.ttl = grant.ttl.max(self.context.node().lessor().ttl_s_min());
        let op = Op::LeaseGrant(grant);
        let mut granted = answer!(self.context.propose(principal, op).await?, LeaseGrant);
        self.context.fill(&mut granted.header);
        Ok(Response::new(granted))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let principal = self.context.require_user(request.metadata())?;
        let op = Op::LeaseRevoke(request.into_inner());
        let mut revoked = answer!(self.context.propose(principal, op).await?, LeaseRevoke);
        self.context.fill(&mut revoked.header);
        Ok(Response::new(revoked))
    }

    /// Answers one after the other, in order; a client that does not read is not renewed either.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let session = KeepAlives { lease: self.clone(), metadata, requests };
        Ok(Response::new(stream::try_unfold(session, KeepAlives::next).boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let principal = self.context.require_user(request.metadata())?;
        let asked = request.into_inner();
        let mut found = self.time_to_live(principal.as_ref(), &asked).await?;
        self.context.fill(&mut found.header);
        Ok(Response::new(found))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let principal = self.context.require_user(request.metadata())?;
        let mut leases = self.context.node().reader().leases();
        if self.context.node().reader().auth().check_admin(principal.as_ref()).is_err() {
            for lease in &leases {
                self.check_keys(principal.as_ref(), lease.id, Access::Read)?;
            }
        }
        self.context.check_still(principal.as_ref())?;
        // Those that expire first come first.
        leases.sort_by_cached_key(|lease| self.expiry_order(lease));
        let leases = leases.into_iter().map(|lease| LeaseStatus { id: lease.id }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: self.context.header(), leases }))
    }
}

impl Lease {
    async fn time_to_live(
        &self,
        principal: Option<&Principal>,
        asked: &LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        let node = self.context.node();
        let gone = LeaseTimeToLiveResponse { id: asked.id, ttl: -1, ..Default::default() };
        let remaining = node.lease_remaining(asked.id).await?;
        if asked.keys {
            self.check_keys(principal, asked.id, Access::Read)?;
        }
        let reader = node.reader();
        let Some((ttl, lease)) = remaining.zip(reader.lease(asked.id)) else { return Ok(gone) };
        let keys = match asked.keys {
            true => reader.lease_keys(asked.id).unwrap_or_default(),
            false => Vec::new(),
        };
        if asked.keys {
            self.context.check_still(principal)?;
        }
        Ok(LeaseTimeToLiveResponse { ttl, granted_ttl: lease.ttl_s, keys, ..gone })
    }

    async fn keep_alive(
        &self,
        metadata: &MetadataMap,
        id: i64,
    ) -> Result<LeaseKeepAliveResponse, Error> {
        // The header is from before the renewal, as etcd's.
        let header = self.context.header();
        let principal = self.context.require_user(metadata)?;
        self.check_keys(principal.as_ref(), id, Access::Write)?;
        // An unknown lease is answered, with no time left.
        let ttl = self.context.node().keep_alive(id).await?.unwrap_or(0);
        Ok(LeaseKeepAliveResponse { header, id, ttl })
    }

    /// May the caller read, or write, every key of the lease? There may be none.
    fn check_keys(
        &self,
        principal: Option<&Principal>,
        id: i64,
        access: Access,
    ) -> Result<(), Error> {
        let reader = self.context.node().reader();
        let auth = reader.auth();
        if auth.check_admin(principal).is_ok() {
            return Ok(());
        }
        for key in reader.lease_keys(id).unwrap_or_default() {
            auth.check_range(principal, &key, b"", access)?;
        }
        Ok(())
    }

    fn expiry_order(&self, lease: &LeaseInfo) -> (i64, u64) {
        let remaining = self.context.node().lessor().remaining(lease.id);
        (remaining.unwrap_or(i64::MAX), lease.grant_index)
    }
}

/// One client's stream of keep-alives.
struct KeepAlives {
    lease: Lease,
    metadata: MetadataMap,
    requests: Streaming<LeaseKeepAliveRequest>,
}

impl KeepAlives {
    async fn next(mut self) -> Result<Option<(LeaseKeepAliveResponse, Self)>, Status> {
        let Some(request) = self.requests.message().await.map_err(errors::of_stream)? else {
            return Ok(None);
        };
        let answer = self.lease.keep_alive(&self.metadata, request.id).await?;
        Ok(Some((answer, self)))
    }
}

#[cfg(test)]
mod tests;
