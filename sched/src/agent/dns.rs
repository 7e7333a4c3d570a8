//! DNS for the pods of this node: the names of services and of whatever is registered, and all others
//! by way of the node's own resolvers.
//!
//! It is answered where the pods have their gateway, an address of the node that every pod of it
//! reaches, out of memory like all of [`crate::discovery::dns`]. A pod must never be told of a server
//! that does not answer: while the address cannot be had, pods ask whom the node asks.

use std::time::Duration;

use super::context::Context;
use super::runtime::Cidr;
use super::{ClusterDns, Settings};
use crate::discovery::dns::{self, Bound, Metrics, Resolvers, SKYDNS_PATH};

const PORT: u16 = 53;
/// How long clients may keep an answer, at most.
const TTL_S: u32 = 5;
/// Between two tries to take the address.
const AGAIN: Duration = Duration::from_secs(1);

/// What the agent answers, if it is the one to answer.
pub(super) struct Server {
    own: Option<(dns::Settings, Option<Bound>)>,
}

impl Server {
    /// Takes the address, so that the first pod can be told of it.
    pub(super) async fn open(context: &Context, cidr: &Cidr) -> Self {
        let gateway = cidr.gateway().into();
        match context.settings.cluster_dns {
            // There is nobody who would ask.
            _ if !context.runtime.has_network() => Self { own: None },
            ClusterDns::Off => Self { own: None },
            ClusterDns::At(address) => {
                // It is set here alone, and once.
                let _ = context.nameserver.set(address);
                Self { own: None }
            }
            ClusterDns::Own => {
                let settings = settings(&context.settings, gateway);
                let bound = bind(context, &settings).await.inspect_err(|error| {
                    tracing::warn!(
                        "pods find no services by name, and ask the node's resolvers, until this \
                         can be: {error}; --cluster-dns (of a server: --agent-cluster-dns) names \
                         another one, or is off"
                    );
                });
                Self { own: Some((settings, bound.ok())) }
            }
        }
    }

    /// Answers. Never returns.
    pub(super) async fn run(self, context: &Context) {
        let Some((settings, mut bound)) = self.own else { return std::future::pending().await };
        loop {
            if let Some(bound) = bound.take()
                && let Err(error) = bound.run(std::future::pending()).await
            {
                tracing::error!("DNS for pods cannot go on, and begins anew: {error}");
            }
            tokio::time::sleep(AGAIN).await;
            bound = bind(context, &settings).await.ok();
        }
    }
}

fn settings(agent: &Settings, gateway: std::net::IpAddr) -> dns::Settings {
    dns::Settings {
        listen: vec![(gateway, PORT).into()],
        zones: vec![agent.cluster_domain.clone()],
        skydns_path: SKYDNS_PATH.to_owned(),
        ttl_s: TTL_S,
        forward: Resolvers::OfMachine { except: gateway },
    }
}

async fn bind(context: &Context, settings: &dns::Settings) -> Result<Bound, String> {
    let bound = dns::bind(context.objects.store(), settings, Metrics::default()).await?;
    for address in &settings.listen {
        // The first of them, and the same one again.
        let _ = context.nameserver.set(address.ip());
    }
    Ok(bound)
}
