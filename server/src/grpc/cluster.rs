//! The Cluster service: who the members are, and changing that.

use std::time::{SystemTime, UNIX_EPOCH};

use api::berthpb::members_question::Change;
use api::berthpb::{AddMember, PromoteMember, RemoveMember, UpdateMember};
use api::etcdserverpb::cluster_server::Cluster as ClusterService;
use api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, ResponseHeader,
};
use raft::ServerNode;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::Context;
use super::errors::{self, Error};
use crate::config;

#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) context: Context,
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let peer_urls = peer_urls(&request.get_ref().peer_urls)?;
        let is_learner = request.get_ref().is_learner;
        let id = new_member_id(self.context.node(), &peer_urls);
        let add = Change::Add(AddMember { peer_urls, is_learner, id });
        let members = self.change(request.metadata(), add).await?;
        let member = members.iter().find(|member| member.id == id).cloned();
        Ok(Response::new(MemberAddResponse { header: self.header(), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let remove = Change::Remove(RemoveMember { id: request.get_ref().id });
        let members = self.change(request.metadata(), remove).await?;
        Ok(Response::new(MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let peer_urls = peer_urls(&request.get_ref().peer_urls)?;
        let update = Change::Update(UpdateMember { id: request.get_ref().id, peer_urls });
        let members = self.change(request.metadata(), update).await?;
        Ok(Response::new(MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        self.context.barrier(!request.get_ref().linearizable).await?;
        self.context.require_user(request.metadata())?;
        let members = self.context.node().members();
        Ok(Response::new(MemberListResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let promote = Change::Promote(PromoteMember { id: request.get_ref().id });
        let promoted = self.change(request.metadata(), promote).await;
        match &promoted {
            Ok(_) => self.context.metrics().promoted(),
            Err(error) => self.context.metrics().promotion_failed(&errors::text(error.clone())),
        }
        let members = promoted?;
        Ok(Response::new(MemberPromoteResponse { header: self.header(), members }))
    }
}

impl Cluster {
    async fn change(&self, metadata: &MetadataMap, change: Change) -> Result<Vec<Member>, Error> {
        self.context.require_admin(metadata)?;
        Ok(self.context.node().change_members(change).await?)
    }

    /// etcd gives no revision here.
    fn header(&self) -> Option<ResponseHeader> {
        let mut header = ResponseHeader::default();
        self.context.fill_without_revision(&mut header);
        Some(header)
    }
}

/// An id as etcd makes them: of the addresses and the time. Whoever removes a member and adds one
/// at the same place within a second would get the old id, which is of no use any more: the second
/// after it is taken then.
pub(crate) fn new_member_id(node: &ServerNode, peer_urls: &[String]) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    free_id(peer_urls, now, |id| node.is_taken(id))
}

fn free_id(peer_urls: &[String], now_s: u64, is_taken: impl Fn(u64) -> bool) -> u64 {
    let mut ids = (now_s..).map(|unix_s| config::added_member_id(peer_urls, unix_s));
    ids.find(|id| *id != 0 && !is_taken(*id)).expect("ids are not all taken")
}

/// The addresses, sorted as etcd keeps them.
pub(crate) fn peer_urls(texts: &[String]) -> Result<Vec<String>, Error> {
    if texts.is_empty() || !texts.iter().all(|url| is_peer_url(url)) {
        return Err(Error::MemberUrlsInvalid);
    }
    let mut urls: Vec<String> = texts.iter().map(|url| url.trim().to_owned()).collect();
    urls.sort();
    Ok(urls)
}

/// As etcd takes them: a scheme, a host and a port, and no path; or a socket's path.
fn is_peer_url(text: &str) -> bool {
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    match scheme {
        "http" | "https" => {
            let uri = text.parse::<http::Uri>().ok();
            uri.is_some_and(|uri| uri.port().is_some()) && !rest.contains('/')
        }
        "unix" | "unixs" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_taken_is_not_given_again() {
        // Proves that a second member at the same place, in the same second, gets another id.
        let urls = ["http://h:1".to_owned()];
        let first = free_id(&urls, 1_700_000_000, |_| false);
        let second = free_id(&urls, 1_700_000_000, |id| id == first);
        assert_ne!(first, second);
        assert_eq!(second, config::added_member_id(&urls, 1_700_000_001));
    }

    #[test]
    fn peer_urls_need_a_port_and_no_path() {
        // Shows what etcd calls invalid, and what it takes.
        for url in ["http://127.0.0.1:2380", "https://[::1]:2380", "unix://a/b", " http://h:1 "] {
            assert!(is_peer_url(url), "{url}");
        }
        for url in ["127.0.0.1:2380", "http://h", "http://h:1/", "ftp://h:1", ""] {
            assert!(!is_peer_url(url), "{url}");
        }
    }
}
