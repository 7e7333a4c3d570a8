//! A pod leaves its Services before it is told to end, so that nobody's request is lost on it.
//!
//! In this order: no slice names it as one to send to; the proxy of this node knows; those of other
//! nodes have had a moment to; what was asked before has been answered. Each wait has its bound, and
//! all of them together half of the grace: a pod that cannot leave in time ends all the same.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use tokio::time::{sleep, timeout};

use super::context::Context;
use super::pod::spec;
use crate::objects::View;

/// How long the controllers and this node's proxy may take.
const UNLISTED_MAX: Duration = Duration::from_secs(10);
/// What the proxies of other nodes get: nobody asks them whether they know.
const OTHERS_KNOW: Duration = Duration::from_secs(1);
/// How long open connections may take to end. Those that are kept for later questions do not.
const ANSWERED_MAX: Duration = Duration::from_secs(2);
/// Between two looks at open connections.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until a pod can be told to end; at once if no Service sends to it.
pub(super) async fn leave(context: &Context, pod: &Pod, grace: Duration) {
    if !context.runtime.has_network() || !is_listed(&context.slices.read(), pod) {
        return;
    }
    let left = timeout(grace / 2, async {
        let _ = timeout(UNLISTED_MAX, unlisted(context, pod)).await;
        sleep(OTHERS_KNOW).await;
        let _ = timeout(ANSWERED_MAX, answered(context, pod)).await;
    });
    let _ = left.await;
}

/// No slice sends to it, and this node's proxy has taken that in.
async fn unlisted(context: &Context, pod: &Pod) {
    let mut slices = context.slices.clone();
    let mut served = context.served.clone();
    loop {
        let revision = {
            let seen = slices.read();
            (!endpoints(&seen, pod).any(is_sent_to)).then_some(seen.revision)
        };
        if let Some(revision) = revision {
            // The sender goes with the agent.
            let _ = served.wait_for(|known| *known >= revision).await;
            return;
        }
        slices.changed().await;
    }
}

/// Nobody has a connection open to it.
async fn answered(context: &Context, pod: &Pod) {
    while let Ok(Some(1..)) = context.runtime.connections(spec::uid(pod)).await {
        sleep(LOOK).await;
    }
}

fn is_listed(slices: &View<EndpointSlice>, pod: &Pod) -> bool {
    endpoints(slices, pod).next().is_some()
}

fn endpoints<'a>(
    slices: &'a View<EndpointSlice>,
    pod: &'a Pod,
) -> impl Iterator<Item = &'a Endpoint> {
    let own = slices.in_namespace(spec::namespace(pod));
    own.flat_map(|slice| &slice.object.endpoints).filter(|endpoint| {
        let target = endpoint.target_ref.as_ref();
        target.and_then(|target| target.uid.as_deref()) == Some(spec::uid(pod))
    })
}

fn is_sent_to(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.terminating) != Some(true)
}
