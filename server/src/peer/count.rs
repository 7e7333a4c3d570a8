//! Counting what passes.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use api::berthpb::peer_response::Answer;
use api::berthpb::{Envelope, PeerResponse};
use parking_lot::Mutex;
use prost::Message;

use crate::http::{MemberCounters, PeerMetrics, SnapshotUnderWay};

/// Messages to and from one member; nothing is counted while nobody knows which. Clones count
/// together.
#[derive(Clone, Default)]
pub(super) struct Traffic {
    counters: Arc<OnceLock<MemberCounters>>,
}

impl Traffic {
    pub(super) fn with(counters: Option<&MemberCounters>) -> Self {
        let traffic = Self::default();
        if let Some(counters) = counters {
            let _ = traffic.counters.set(counters.clone());
        }
        traffic
    }

    /// Learns who the sender says it is, from the first envelope.
    pub(super) fn learn(&self, metrics: &PeerMetrics, envelope: Option<&Envelope>) {
        if let Some(envelope) = envelope {
            self.counters.get_or_init(|| metrics.member(envelope.from));
        }
    }

    pub(super) fn counters(&self) -> Option<&MemberCounters> {
        self.counters.get()
    }

    pub(super) fn sent(&self, message: &impl Message) {
        if let Some(counters) = self.counters() {
            counters.sent(message.encoded_len());
        }
    }

    pub(super) fn received(&self, message: &impl Message) {
        if let Some(counters) = self.counters() {
            counters.received(message.encoded_len());
        }
    }

    pub(super) fn send_failed(&self) {
        if let Some(counters) = self.counters() {
            counters.send_failed();
        }
    }

    pub(super) fn receive_failed(&self) {
        if let Some(counters) = self.counters() {
            counters.receive_failed();
        }
    }
}

/// Times from requests to their answers, which come in the same order. Clones share it.
#[derive(Clone, Default)]
pub(super) struct RoundTrips {
    sent: Arc<Mutex<VecDeque<Instant>>>,
}

impl RoundTrips {
    pub(super) fn request(&self) {
        self.sent.lock().push_back(Instant::now());
    }

    /// An answer to the oldest request that has none.
    pub(super) fn answer(&self, traffic: &Traffic) {
        let sent = self.sent.lock().pop_front();
        if let (Some(sent), Some(counters)) = (sent, traffic.counters()) {
            counters.round_trip(sent.elapsed());
        }
    }
}

/// A snapshot's way has ended with `answer`.
pub(super) fn snapshot_answered(under_way: Option<SnapshotUnderWay>, answer: &PeerResponse) {
    if let (Some(under_way), Some(Answer::Installed(_))) = (under_way, &answer.answer) {
        under_way.succeeded();
    }
}
