//! What carries messages between members: it delays, loses, repeats, holds back and breaks.
//!
//! A question is a datagram here: it may be lost, overtaken or, unless it changes something,
//! delivered twice. A stream is a
//! connection: what arrives is in order, but it may stall, break in the middle, and what was on its
//! way when its sender gave it up may still arrive, after things that were sent later elsewhere.

mod call;
mod pipe;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::peer::{Receiver, Transport};

use crate::chance::Chance;
use crate::log::Log;
use crate::runtime::Process;

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a thousand questions and answers, so many are lost.
    pub lost: u32,
    /// Of a thousand questions, so many arrive twice.
    pub repeated: u32,
    /// Of a thousand pieces on a stream, so many break it.
    pub broken: u32,
    /// The longest delay; the shortest is a tenth of a millisecond.
    pub delay_ms_max: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather { lost: 0, repeated: 0, broken: 0, delay_ms_max: 3 };
}

/// Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) log: Log,
    pub(crate) chance: Chance,
    state: Arc<Mutex<State>>,
}

struct State {
    members: BTreeMap<u64, Plug>,
    /// From, to.
    blocked: BTreeSet<(u64, u64)>,
    weather: Weather,
    delivered: u64,
}

/// A member that can be reached.
#[derive(Clone)]
pub(crate) struct Plug {
    pub(crate) receiver: Arc<dyn Receiver>,
    pub(crate) process: Arc<Process>,
}

impl Network {
    pub(crate) fn new(log: Log, chance: Chance) -> Network {
        let (members, blocked) = (BTreeMap::new(), BTreeSet::new());
        let state = State { members, blocked, weather: Weather::FAIR, delivered: 0 };
        Network { log, chance, state: Arc::new(Mutex::new(state)) }
    }

    /// What member `from` reaches others by.
    pub(crate) fn transport(&self, from: u64) -> Arc<dyn Transport> {
        Arc::new(wire::Outlet { from, network: self.clone() })
    }

    pub(crate) fn plug(&self, id: u64, receiver: Arc<dyn Receiver>, process: Arc<Process>) {
        self.state.lock().members.insert(id, Plug { receiver, process });
    }

    pub(crate) fn unplug(&self, id: u64) {
        self.state.lock().members.remove(&id);
    }

    pub(crate) fn block(&self, from: u64, to: u64) {
        self.state.lock().blocked.insert((from, to));
    }

    pub(crate) fn mend(&self) {
        self.state.lock().blocked.clear();
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    /// Messages that arrived so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.state.lock().delivered
    }

    fn weather(&self) -> Weather {
        self.state.lock().weather
    }

    fn is_blocked(&self, from: u64, to: u64) -> bool {
        self.state.lock().blocked.contains(&(from, to))
    }

    /// The member, if it runs.
    fn member(&self, id: u64) -> Option<Plug> {
        self.state.lock().members.get(&id).filter(|plug| plug.process.is_alive()).cloned()
    }

    fn count(&self) {
        self.state.lock().delivered += 1;
    }

    fn delay(&self) -> Duration {
        let most = self.weather().delay_ms_max.max(1) * 1000;
        // Most are fast, some are not.
        let us = self.chance.number(100..most).min(self.chance.number(100..most));
        Duration::from_micros(us)
    }
}

/// A dead process sends nothing, even if its last step is not over yet.
fn sender_is_dead() -> bool {
    Process::current().is_some_and(|process| !process.is_alive())
}
