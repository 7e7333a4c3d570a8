//! Three members, one of which can be cut off from the others; its clients stay where they are.

use testkit::{Clients, Cluster, Proxy, Weather, subject};

/// The members that go on are near, the one that is cut off is far.
pub(crate) struct Halves {
    pub(crate) cluster: Cluster,
    /// Before each member: what others send to it.
    proxies: Vec<Proxy>,
    /// It leads at first.
    pub(crate) near: usize,
    pub(crate) far: usize,
}

impl Halves {
    pub(crate) async fn start(flags: &[&str]) -> Halves {
        let (mut cluster, proxies) = Cluster::start_behind_proxies(subject!(), 3, flags).await;
        let near = cluster.leader().await;
        let far = cluster.others(near)[0];
        Halves { cluster, proxies, near, far }
    }

    pub(crate) fn near(&self) -> Clients {
        self.cluster.clients(self.near)
    }

    pub(crate) fn far(&self) -> Clients {
        self.cluster.clients(self.far)
    }

    /// Nothing reaches the far member.
    pub(crate) fn cut(&self) {
        self.proxies[self.far].set(Weather { stalled: true, ..Weather::default() });
    }

    pub(crate) fn heal(&self) {
        self.proxies[self.far].set(Weather::default());
    }
}
