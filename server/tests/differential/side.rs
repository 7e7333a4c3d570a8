//! One of the two servers of a comparison, with what it told us and nobody else.

use std::collections::HashMap;

use api::etcdserverpb::{LeaseKeepAliveRequest, MemberListRequest, RangeRequest, RangeResponse};
use testkit::{Clients, Program, Server, bounded, with_token};

use crate::call::{Answer, Call, Caller, Refusal, Reply, Step};
use crate::canonical::Ids;
use crate::watching::WatchStream;

/// A server, its clients, and the ids and tokens it gave out.
pub(crate) struct Side {
    pub name: &'static str,
    pub server: Server,
    pub clients: Clients,
    pub ids: Ids,
    pub watches: WatchStream,
    tokens: HashMap<String, String>,
}

impl Side {
    /// Starts the server. `name` is how failure messages call it.
    pub(crate) async fn start(name: &'static str, program: Program) -> Self {
        // The cheapest hashing that bcrypt allows: passwords are not what is compared.
        let server = Server::start(program, &["--bcrypt-cost=4"]).await;
        let mut clients = server.clients();
        let answer = clients.cluster.member_list(MemberListRequest { linearizable: true }).await;
        let header = answer.expect("a fresh server lists its members").into_inner().header;
        let header = header.expect("every answer has a header");
        let watches = WatchStream::open(&clients.watch, None);
        let ids = Ids::new(header.cluster_id, header.member_id);
        Self { name, server, clients, ids, watches, tokens: HashMap::new() }
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
        let mut reply = bounded(local.send(&mut self.clients, token.as_deref())).await?;
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
        let mut chunks = bounded(self.clients.kv.range_stream(request)).await?.into_inner();
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
        let call = self.clients.lease.lease_keep_alive(with_token(requests, token.as_deref()));
        let mut answers = bounded(call).await?.into_inner();
        let Some(mut reply) = bounded(answers.message()).await? else {
            return Err(Refusal { code: tonic::Code::Ok, text: "stream ended".to_owned() });
        };
        self.ids.keep_alive(&mut reply);
        Ok(Reply::LeaseKeepAlive(reply))
    }
}
