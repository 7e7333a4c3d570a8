//! Whether a member can be reached, as the log and the metrics tell it: once for each change.

use std::sync::Arc;

use parking_lot::Mutex;
use raft::peer::Purpose;

use crate::http::MemberCounters;

/// One member over all connections to it.
pub(super) struct Presence {
    /// Its id, or its addresses as long as nobody knows its id.
    name: String,
    counters: Option<MemberCounters>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that are open.
    open: usize,
    told: Told,
}

/// What the log said last.
#[derive(Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Connected,
    Lost,
}

impl Presence {
    pub(super) fn of_member(counters: MemberCounters) -> Arc<Self> {
        Arc::new(Self {
            name: counters.id().to_owned(),
            counters: Some(counters),
            state: Mutex::default(),
        })
    }

    /// Whoever listens at `urls`.
    pub(super) fn of_stranger(urls: &[String]) -> Arc<Self> {
        Arc::new(Self { name: urls.join(","), counters: None, state: Mutex::default() })
    }

    /// `None` while nobody knows who it is.
    pub(super) fn counters(&self) -> Option<&MemberCounters> {
        self.counters.as_ref()
    }

    pub(super) fn connected(&self, url: &str) {
        let mut state = self.state.lock();
        state.open += 1;
        if state.told != Told::Connected {
            tracing::info!(member = self.name, url, "connected to member");
            state.told = Told::Connected;
        }
        self.count(|counters| counters.set_active(true));
    }

    /// An attempt has failed.
    pub(super) fn unreachable(&self, why: &str) {
        let mut state = self.state.lock();
        if state.open == 0 && state.told != Told::Lost {
            tracing::warn!(member = self.name, why, "cannot reach member");
            state.told = Told::Lost;
        }
    }

    /// A connection broke.
    pub(super) fn broken(&self, purpose: Purpose, why: &str) {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            tracing::debug!(member = self.name, ?purpose, why, "one connection to member broke");
            return;
        }
        if state.told == Told::Connected {
            tracing::warn!(member = self.name, why, "lost member");
            state.told = Told::Lost;
            self.count(MemberCounters::disconnected);
        }
        self.count(|counters| counters.set_active(false));
    }

    /// A connection was closed because nobody needs it any more.
    pub(super) fn closed(&self) {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            self.count(|counters| counters.set_active(false));
        }
    }

    fn count(&self, count: impl FnOnce(&MemberCounters)) {
        if let Some(counters) = &self.counters {
            count(counters);
        }
    }
}

/// One connection to a member, as far as others are told of it. It counts from its first answer:
/// before that nobody knows that a member is at its other end, nor that it takes our certificate.
pub(super) struct Contact {
    presence: Arc<Presence>,
    purpose: Purpose,
    url: String,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unproven,
    Answered,
    Ended,
}

impl Contact {
    pub(super) fn new(presence: Arc<Presence>, purpose: Purpose, url: String) -> Arc<Self> {
        Arc::new(Self { presence, purpose, url, stage: Mutex::new(Stage::Unproven) })
    }

    pub(super) fn answered(&self) {
        let mut stage = self.stage.lock();
        if *stage == Stage::Unproven {
            *stage = Stage::Answered;
            self.presence.connected(&self.url);
        }
    }

    /// `unwanted`: nobody needed it any more.
    pub(super) fn ended(&self, why: &str, unwanted: bool) {
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Ended);
        match (stage, unwanted) {
            (Stage::Answered, true) => self.presence.closed(),
            (Stage::Answered, false) => self.presence.broken(self.purpose, why),
            (Stage::Unproven, false) => {
                self.presence.unreachable(&format!("{}: {why}", self.url));
            }
            (Stage::Unproven, true) | (Stage::Ended, _) => {}
        }
    }
}
