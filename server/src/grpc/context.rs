//! What all services share.

use std::sync::Arc;

use raft::ServerNode;

use super::passwords::Passwords;
use super::tokens::Tokens;
use super::turns::Turns;
use crate::http::ServiceMetrics;

/// gRPC's own framing and metadata may add this to a request, as etcd allows.
const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;

/// More than one, because some wait for the disk; few, because those that do not would leave the
/// async workers a small share of the cores.
const READS_PER_CORE: usize = 2;
/// Each has a thread for as long as its client takes.
const SNAPSHOTS_MAX: usize = 16;

/// What the services are started with.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster_id: u64,
    pub member_id: u64,
    /// Largest proposal.
    pub request_bytes_max: usize,
    /// Bytes of live data above which writes are refused; `None`: no quota.
    pub quota_bytes: Option<u64>,
    /// Learners answer linearizable ranges too.
    pub serve_learner_reads: bool,
    /// Cost of hashing a password: 2 to the power of it.
    pub bcrypt_cost: u32,
}

/// The node and everything else that a service needs to answer. Clones share it.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
}

struct Shared {
    node: ServerNode,
    options: Options,
    tokens: Tokens,
    passwords: Passwords,
    readers: Turns,
    snapshots: Turns,
    metrics: ServiceMetrics,
}

impl Context {
    /// `tokens` observe what `node` applies, if they have to ([`Tokens::observer`]).
    pub fn new(
        node: ServerNode,
        options: Options,
        tokens: Tokens,
        metrics: ServiceMetrics,
    ) -> Self {
        let passwords = Passwords::new(options.bcrypt_cost);
        let readers = Turns::per_core(READS_PER_CORE);
        let snapshots = Turns::at_most(SNAPSHOTS_MAX);
        let shared = Shared { node, options, tokens, passwords, readers, snapshots, metrics };
        Self { shared: Arc::new(shared) }
    }

    pub fn node(&self) -> &ServerNode {
        &self.shared.node
    }

    pub fn cluster_id(&self) -> u64 {
        self.shared.options.cluster_id
    }

    pub fn member_id(&self) -> u64 {
        self.shared.options.member_id
    }

    pub fn request_bytes_max(&self) -> usize {
        self.shared.options.request_bytes_max
    }

    /// Largest message that a client may send.
    pub fn message_bytes_max(&self) -> usize {
        self.shared.options.request_bytes_max.saturating_add(MESSAGE_OVERHEAD_BYTES)
    }

    pub fn serve_learner_reads(&self) -> bool {
        self.shared.options.serve_learner_reads
    }

    pub fn quota_bytes(&self) -> Option<u64> {
        self.shared.options.quota_bytes
    }

    pub(super) fn metrics(&self) -> &ServiceMetrics {
        &self.shared.metrics
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.shared.passwords
    }

    /// For reads that may take long.
    pub(super) fn readers(&self) -> &Turns {
        &self.shared.readers
    }

    /// For backups that clients take.
    pub(super) fn snapshots(&self) -> &Turns {
        &self.shared.snapshots
    }
}
