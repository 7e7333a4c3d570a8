//! One peer for each member, one wire for each purpose.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use raft::peer::{Link, Purpose, Route, Transport};

use super::link::GrpcLink;
use super::presence::Presence;
use super::wire::Wire;
use crate::http::PeerMetrics;
use crate::serve::tls::Connector;

/// What connections to members need.
#[derive(Clone)]
pub struct Options {
    pub metrics: PeerMetrics,
    /// For peer URLs with `https`. `None`: those cannot be reached.
    pub tls: Option<Connector>,
}

/// Links to members, over gRPC. Links with the same member and purpose share a connection.
pub struct GrpcTransport {
    options: Options,
    peers: Mutex<BTreeMap<u64, Weak<Presence>>>,
    wires: Mutex<BTreeMap<(u64, Purpose), Weak<Wire>>>,
}

impl GrpcTransport {
    #[expect(clippy::new_ret_no_self, reason = "nobody needs the type itself")]
    pub fn new(options: Options) -> Arc<dyn Transport> {
        Arc::new(Self { options, peers: Mutex::default(), wires: Mutex::default() })
    }

    /// What is known of whoever is at the end of `route`.
    fn presence(&self, route: &Route) -> Arc<Presence> {
        let Some(id) = route.member_id() else { return Presence::of_stranger(&route.urls()) };
        shared(&self.peers, id, || Presence::of_member(self.options.metrics.member(id)))
    }

    fn wire(&self, route: Route, purpose: Purpose) -> Arc<Wire> {
        let id = route.member_id();
        let make = || {
            let presence = self.presence(&route);
            Arc::new(Wire::new(route, purpose, self.options.tls.clone(), presence))
        };
        match id {
            Some(id) => shared(&self.wires, (id, purpose), make),
            None => make(),
        }
    }
}

impl Transport for GrpcTransport {
    fn link(&self, route: Route, purpose: Purpose) -> Arc<dyn Link> {
        Arc::new(GrpcLink::new(self.wire(route, purpose)))
    }
}

/// The value at `key` if somebody still holds it, or a new one. Values that nobody holds go.
fn shared<K: Ord, V>(
    map: &Mutex<BTreeMap<K, Weak<V>>>,
    key: K,
    make: impl FnOnce() -> Arc<V>,
) -> Arc<V> {
    let mut map = map.lock();
    if let Some(found) = map.get(&key).and_then(Weak::upgrade) {
        return found;
    }
    map.retain(|_, value| value.strong_count() > 0);
    let made = make();
    map.insert(key, Arc::downgrade(&made));
    made
}
