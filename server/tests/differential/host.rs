//! What runs one side of a comparison: one process, or a cluster of them.

use api::etcdserverpb::{StatusRequest, StatusResponse};
use testkit::{Clients, Cluster, Kind, Program, Server, bounded, with_token};
use tonic::{Code, Status};

/// The cheapest hashing that bcrypt allows: passwords are not what is compared.
const FLAGS: &[&str] = &["--bcrypt-cost=4"];

/// The processes of one side.
pub(crate) enum Host {
    One(Box<Server>),
    Many(Cluster),
}

impl Host {
    /// Starts so many members.
    pub(crate) async fn start(program: Program, members: usize) -> Self {
        if members == 1 {
            return Self::One(Box::new(Server::start(program, FLAGS).await));
        }
        let places = (0..members).map(|_| testkit::Place::loopback()).collect();
        Self::Many(Cluster::start_with(program, places, FLAGS).await)
    }

    /// Clients of each member.
    pub(crate) fn clients(&self) -> Vec<Clients> {
        match self {
            Self::One(server) => vec![server.clients()],
            Self::Many(cluster) => (0..cluster.len()).map(|at| cluster.clients(at)).collect(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::One(server) => server.program.kind,
            Self::Many(cluster) => cluster.kind(),
        }
    }

    /// Whether the members that are not asked leave the ranges of a transaction out, as etcd 3.4's
    /// do. Where a range is refused (its revision is compacted or to come, or its keys are not the
    /// caller's), the member that is asked refuses the whole transaction and the others apply its
    /// writes: the members differ from then on.
    pub(crate) fn drops_ranges(&self) -> bool {
        self.is_cluster() && self.kind() == Kind::Etcd
    }

    /// The members of a cluster have to have the same hashes; one server has nobody to differ from.
    pub(crate) async fn converged(&mut self) {
        if let Self::Many(cluster) = self {
            cluster.converged().await;
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        match self {
            Self::One(server) => server.is_running(),
            Self::Many(cluster) => cluster.running().len() == cluster.len(),
        }
    }

    /// What the logs say of a crash, if a process is gone or one of its tasks has crashed.
    pub(crate) fn crash(&mut self) -> Option<String> {
        match self {
            Self::One(server) => server.crash(),
            Self::Many(cluster) => cluster.crash(),
        }
    }
}

/// Waits until every member has applied what any of them knows to be committed, so that each
/// answers as one server alone would. Returns what they say of themselves: nothing, when all of
/// them refuse to say it to the owner of `token` (they know of the authentication, which is all
/// that can have happened since).
pub(crate) async fn level(members: &[Clients], token: Option<&str>) -> Vec<StatusResponse> {
    bounded(async {
        loop {
            let mut said = Vec::new();
            for member in members {
                let request = with_token(StatusRequest {}, token);
                match member.maintenance.clone().status(request).await {
                    Ok(status) => said.push(status.into_inner()),
                    Err(refusal) if is_about_the_caller(&refusal) => {}
                    Err(refusal) => panic!("a member does not say how it is: {refusal}"),
                }
            }
            let committed = said.iter().map(|status| status.raft_index).max();
            let level = said.iter().all(|status| Some(status.raft_applied_index) >= committed);
            if said.is_empty() || (said.len() == members.len() && level) {
                return said;
            }
        }
    })
    .await
}

/// Waits until every member follows `leader`.
pub(crate) async fn follow(members: &[Clients], token: Option<&str>, leader: u64) {
    bounded(async {
        while level(members, token).await.iter().any(|said| said.leader != leader) {}
    })
    .await;
}

fn is_about_the_caller(refusal: &Status) -> bool {
    matches!(refusal.code(), Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied)
}
