//! Commands that wait at the same moment travel together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::ProposeQuestion;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::propose_answer::Fate;
use api::berthpb::refusal::Reason;
use bytes::Bytes;
use futures::channel::oneshot;
use openraft::AsyncRuntime;
use parking_lot::Mutex;

use crate::leaders::{Leader, Leaders};
use crate::peer::{LinkError, Network};

/// Flights to one leader at a time. While all are on their way, commands gather for the next. Those
/// to a leader that is no more, which may take long to come back, stand in nobody's way.
const FLIGHTS_MAX: usize = 8;

/// Bytes of one flight; a single command may be larger.
const FLIGHT_BYTES: usize = 1 << 20;

/// Commands of one flight.
const FLIGHT_COMMANDS_MAX: usize = 4096;

type Told = Result<Fate, LinkError>;

pub(super) struct Flights<R: AsyncRuntime> {
    network: Network<R>,
    leaders: Leaders<R>,
    timeout: Duration,
    /// By leader: no more than there were members.
    gates: Arc<Mutex<BTreeMap<u64, Gate>>>,
}

/// Those who want to go to one leader.
#[derive(Default)]
struct Gate {
    waiting: VecDeque<Passenger>,
    flying: usize,
}

struct Passenger {
    payload: Bytes,
    told: oneshot::Sender<Told>,
}

impl<R: AsyncRuntime> Flights<R> {
    pub(super) fn new(network: Network<R>, leaders: Leaders<R>, timeout: Duration) -> Flights<R> {
        Flights { network, leaders, timeout, gates: Arc::default() }
    }

    /// Sends `payload` to `leader`, with others that wait. If the future is dropped, it travels all
    /// the same, unless it has not left yet.
    pub(super) fn send(
        &self,
        leader: u64,
        payload: Bytes,
    ) -> impl Future<Output = Told> + Send + Unpin + use<R> {
        let (tx, rx) = oneshot::channel();
        let start = {
            let mut gates = self.gates.lock();
            let gate = gates.entry(leader).or_default();
            gate.waiting.push_back(Passenger { payload, told: tx });
            let start = gate.flying < FLIGHTS_MAX;
            gate.flying += usize::from(start);
            start
        };
        if start {
            drop(R::spawn(self.clone().fly(leader)));
        }
        Box::pin(async move {
            rx.await.unwrap_or_else(|_| Err(LinkError::Interrupted("the node stopped".into())))
        })
    }

    /// Flies to `leader` until nobody waits. Who has not left when it leads no more stays here.
    async fn fly(self, leader: u64) {
        while let Some(passengers) = self.board(leader) {
            if self.leaders.current() != Leader::There(leader) {
                for passenger in passengers {
                    let _ = passenger.told.send(Ok(Fate::NotLeader));
                }
                continue;
            }
            let (payloads, told): (Vec<_>, Vec<_>) =
                passengers.into_iter().map(|it| (it.payload, it.told)).unzip();
            let outcome = self.ask(leader, payloads).await;
            for (place, told) in told.into_iter().enumerate() {
                // A caller that has gone needs no answer.
                let _ = told.send(outcome.of(place));
            }
        }
    }

    /// Those who leave next; `None` ends this one of the flights.
    fn board(&self, leader: u64) -> Option<Vec<Passenger>> {
        let mut gates = self.gates.lock();
        let gate = gates.get_mut(&leader)?;
        gate.waiting.retain(|passenger| !passenger.told.is_canceled());
        let (mut bytes, mut boarded) = (0, Vec::new());
        while let Some(next) = gate.waiting.front() {
            bytes += next.payload.len();
            let full = !boarded.is_empty() && bytes > FLIGHT_BYTES;
            if full || boarded.len() == FLIGHT_COMMANDS_MAX {
                break;
            }
            boarded.extend(gate.waiting.pop_front());
        }
        if !boarded.is_empty() {
            return Some(boarded);
        }
        gate.flying -= 1;
        if gate.flying == 0 {
            gates.remove(&leader);
        }
        None
    }

    async fn ask(&self, leader: u64, commands: Vec<Bytes>) -> Outcome {
        let question = Question::Propose(ProposeQuestion { commands });
        match self.network.ask(leader, question, self.timeout).await {
            Ok(Answer::Propose(answer)) => Outcome::Fates(answer.fates),
            // A refusal is given before anything is looked at.
            Ok(Answer::Refusal(refusal)) if refusal.reason() != Reason::Unknown => {
                Outcome::All(Ok(Fate::NotLeader))
            }
            Ok(_) => Outcome::All(Ok(Fate::Unknown)),
            Err(error) => Outcome::All(Err(error)),
        }
    }
}

enum Outcome {
    Fates(Vec<i32>),
    All(Told),
}

impl Outcome {
    fn of(&self, place: usize) -> Told {
        match self {
            Outcome::All(told) => told.clone(),
            Outcome::Fates(fates) => {
                let fate = fates.get(place).and_then(|fate| Fate::try_from(*fate).ok());
                Ok(fate.unwrap_or(Fate::Unknown))
            }
        }
    }
}

impl<R: AsyncRuntime> Clone for Flights<R> {
    fn clone(&self) -> Self {
        Flights {
            network: self.network.clone(),
            leaders: self.leaders.clone(),
            timeout: self.timeout,
            gates: self.gates.clone(),
        }
    }
}
