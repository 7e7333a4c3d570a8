//! The Cluster service: who the members are. Changing them is not supported yet, but what etcd
//! would refuse anyway is refused in its words.

use api::etcdserverpb::cluster_server::Cluster as ClusterService;
use api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, ResponseHeader,
};
use tonic::{Request, Response, Status};

use super::Context;
use super::errors::Error;

const UNSUPPORTED: &str = "berth: changing the members of a cluster is not supported yet";

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
        let urls = &request.get_ref().peer_urls;
        if urls.is_empty() || urls.iter().any(|url| !is_peer_url(url)) {
            return Err(Error::MemberUrlsInvalid.into());
        }
        self.context.require_admin(request.metadata())?;
        self.check_new(urls)?;
        Err(Error::Unsupported(UNSUPPORTED).into())
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        self.member(request.get_ref().id)?;
        Err(Error::Unsupported(UNSUPPORTED).into())
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        self.member(request.get_ref().id)?;
        Err(Error::Unsupported(UNSUPPORTED).into())
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        self.context.barrier(!request.get_ref().linearizable).await?;
        self.context.require_user(request.metadata())?;
        // etcd gives no revision here.
        let mut header = ResponseHeader::default();
        self.context.fill_without_revision(&mut header);
        Ok(Response::new(MemberListResponse { header: Some(header), members: self.members() }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        let member = self.member(request.get_ref().id)?;
        if !member.is_learner {
            return Err(Error::MemberNotLearner.into());
        }
        Err(Error::Unsupported(UNSUPPORTED).into())
    }
}

impl Cluster {
    fn members(&self) -> Vec<Member> {
        self.context.node().members()
    }

    fn member(&self, id: u64) -> Result<Member, Error> {
        let found = self.members().into_iter().find(|member| member.id == id);
        found.ok_or_else(|| store::Error::MemberNotFound.into())
    }

    fn check_new(&self, urls: &[String]) -> Result<(), Error> {
        let taken = |member: &Member| member.peer_urls.iter().any(|url| urls.contains(url));
        if self.members().iter().any(taken) {
            return Err(Error::PeerUrlsExist);
        }
        Ok(())
    }
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
