//! One of the two sides of a comparison, with what it told us and nobody else.

use std::collections::HashMap;

use api::etcdserverpb::{LeaseKeepAliveRequest, MoveLeaderRequest, RangeRequest, RangeResponse};
use testkit::{Clients, Program, bounded, with_token};

use crate::call::{Answer, Call, Caller, Refusal, Reply, Step};
use crate::canonical::Ids;
use crate::generate::Dice;
use crate::host::{self, Host};
use crate::watching::WatchStream;

/// A server or a cluster, its clients, and the ids and tokens it gave out.
pub(crate) struct Side {
    pub name: &'static str,
    pub host: Host,
    pub ids: Ids,
    pub watches: WatchStream,
    members: Vec<Clients>,
    /// The member that leads, by its place.
    leader: usize,
    /// Chooses the member that answers next.
    dice: Dice,
    tokens: HashMap<String, String>,
}

impl Side {
    /// Starts so many members. `name` is how failure messages call the side.
    pub(crate) async fn start(
        name: &'static str,
        program: Program,
        members: usize,
        seed: u64,
    ) -> Self {
        let host = Host::start(program, members).await;
        let members = host.clients();
        let headers: Vec<_> = host::level(&members, None)
            .await
            .into_iter()
            .map(|status| status.header.expect("every answer has a header"))
            .collect();
        let ids = headers.iter().map(|header| header.member_id).collect();
        let ids = Ids::new(headers[0].cluster_id, ids);
        let mut dice = Dice::new(seed);
        let watches = WatchStream::open(&members[dice.index(members.len())].watch, None);
        Self { name, host, ids, watches, members, leader: 0, dice, tokens: HashMap::new() }
    }

    /// Makes all members answer alike, which one server alone always does.
    pub(crate) async fn level(&mut self) {
        if self.members.len() == 1 {
            return;
        }
        let said = host::level(&self.members, self.root().as_deref()).await;
        let leads = said.iter().position(|status| {
            status.header.is_some_and(|header| header.member_id == status.leader)
        });
        if let Some(leader) = leads {
            self.leader = leader;
            self.ids.set_leader(said[leader].leader);
        }
    }

    /// Makes another member the leader, or the same, if there are several.
    pub(crate) async fn move_leader(&mut self) {
        let status = host::level(&self.members, self.root().as_deref()).await;
        if status.len() < 2 {
            return;
        }
        let target = self.dice.index(status.len());
        let target_id = status[target].header.map_or(0, |header| header.member_id);
        let request = with_token(MoveLeaderRequest { target_id }, self.root().as_deref());
        let moved = bounded(self.members[self.leader].maintenance.move_leader(request)).await;
        moved.expect("a healthy leader can be moved");
        host::follow(&self.members, self.root().as_deref(), target_id).await;
    }

    fn root(&self) -> Option<String> {
        self.token(&Caller::User("root"))
    }

    /// Clients of any member.
    pub(crate) fn any(&mut self) -> &mut Clients {
        let at = self.dice.index(self.members.len());
        &mut self.members[at]
    }

    /// The token to send for `caller`.
    pub(crate) fn token(&self, caller: &Caller) -> Option<String> {
        match caller {
            Caller::Nobody => None,
            Caller::Forger => Some("AAAAAAAAAAAAAAAA.1".to_owned()),
            Caller::User(name) => self.tokens.get(*name).cloned(),
        }
    }

    /// Makes a call and returns its canonical answer.
    pub(crate) async fn call(&mut self, step: &Step, call: &Call) -> Answer {
        let token = self.token(&step.caller);
        let mut local = call.clone();
        self.ids.localise(&mut local);
        let clients = match call {
            // Only the leader hands over.
            Call::MoveLeader(_) => &mut self.members[self.leader],
            _ => self.any(),
        };
        let mut reply = bounded(local.send(clients, token.as_deref())).await?;
        if let (Call::Authenticate(request), Reply::Authenticate(reply)) = (call, &reply) {
            self.tokens.insert(request.name.clone(), reply.token.clone());
        }
        self.ids.canonicalise(call, &mut reply);
        Ok(reply)
    }

    /// Makes a range as a stream (etcd 3.7) and returns its chunks as one canonical answer.
    pub(crate) async fn range_stream(&mut self, step: &Step, range: &RangeRequest) -> Answer {
        let token = self.token(&step.caller);
        let request = with_token(range.clone(), token.as_deref());
        let mut chunks = bounded(self.any().kv.range_stream(request)).await?.into_inner();
        let mut whole = RangeResponse::default();
        while let Some(chunk) = bounded(chunks.message()).await? {
            let chunk = chunk.range_response.unwrap_or_default();
            whole.kvs.extend(chunk.kvs);
            // Only the last chunk has these.
            whole.header = chunk.header.or(whole.header);
            whole.more |= chunk.more;
            whole.count += chunk.count;
        }
        let mut reply = Reply::Range(whole);
        self.ids.canonicalise(&Call::Range(range.clone()), &mut reply);
        Ok(reply)
    }

    /// Renews a lease once, on a stream of its own.
    pub(crate) async fn keep_alive(&mut self, step: &Step, lease: i64) -> Answer {
        let token = self.token(&step.caller);
        let request = LeaseKeepAliveRequest { id: self.ids.real_lease(lease) };
        let requests = tokio_stream::once(request);
        let call = self.any().lease.lease_keep_alive(with_token(requests, token.as_deref()));
        let mut answers = bounded(call).await?.into_inner();
        let Some(mut reply) = bounded(answers.message()).await? else {
            return Err(Refusal { code: tonic::Code::Ok, text: "stream ended".to_owned() });
        };
        self.ids.keep_alive(&mut reply);
        Ok(Reply::LeaseKeepAlive(reply))
    }
}
