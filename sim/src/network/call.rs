//! Questions and their answers.

use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{PeerRequest, PeerResponse};
use futures::channel::oneshot;
use openraft_rt::{AsyncRuntime, Select2};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use raft::peer::LinkError;

use super::{Network, Plug, sender_is_dead};
use crate::runtime::{Process, Simulated};

/// How soon the death of the other process is noticed.
const RESET_LOOK: Duration = Duration::from_millis(40);

/// Where the first answer that arrives goes.
type Inbox = Arc<Mutex<Option<oneshot::Sender<PeerResponse>>>>;

impl Network {
    /// Asks as a process does that knows nothing of the network but what comes back.
    pub(super) async fn call(
        self,
        (from, to): (u64, u64),
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<PeerResponse, LinkError> {
        let Some(plug) = self.member(to) else {
            Simulated::sleep(self.delay()).await;
            return Err(LinkError::Unreachable("nobody listens there".to_owned()));
        };
        // Nothing was sent if the connection could not even be opened.
        if self.is_blocked(from, to) && self.chance.one_in_thousand(500) {
            Simulated::sleep(timeout).await;
            return Err(LinkError::Unreachable("no way to it".to_owned()));
        }
        let (tx, rx) = oneshot::channel();
        let inbox: Inbox = Arc::new(Mutex::new(Some(tx)));
        if !sender_is_dead() {
            let again = self.chance.one_in_thousand(self.weather().repeated);
            for _ in 0..1 + u32::from(again && may_be_repeated(&request)) {
                self.post((from, to), plug.clone(), request.clone(), inbox.clone());
            }
        }
        let reset = Box::pin(reset(plug.process));
        match Simulated::timeout(timeout, Simulated::select2(rx, reset)).await {
            Ok(Select2::First(Ok(answer))) => Ok(answer),
            Ok(Select2::Second(())) => Err(LinkError::Interrupted("connection reset".to_owned())),
            _ => Err(LinkError::TimedOut),
        }
    }

    /// One copy on its way, and the answer to it on its way back.
    fn post(&self, (from, to): (u64, u64), plug: Plug, request: PeerRequest, inbox: Inbox) {
        let network = self.clone();
        // Of no process: what is on its way outlives its sender.
        drop(SimRuntime::spawn(async move {
            if !network.carry(from, to).await || !plug.process.is_alive() {
                return keep(&inbox).await;
            }
            let receiver = plug.receiver.clone();
            let answered = plug.process.spawn(async move { receiver.call(request).await });
            let Ok(answer) = answered.await else { return keep(&inbox).await };
            if !network.carry(to, from).await {
                return keep(&inbox).await;
            }
            if let Some(inbox) = inbox.lock().take() {
                // Whoever asked may have given up.
                let _ = inbox.send(answer);
            }
        }));
    }

    /// True if a datagram gets through.
    async fn carry(&self, from: u64, to: u64) -> bool {
        SimRuntime::sleep(self.delay()).await;
        let lost = self.chance.one_in_thousand(self.weather().lost);
        if lost || self.is_blocked(from, to) {
            self.log.line(format_args!("net {from}->{to} lost"));
            return false;
        }
        self.count();
        true
    }
}

/// What a connection promises is promised here too: see [`raft::peer::Link::call`].
fn may_be_repeated(request: &PeerRequest) -> bool {
    use api::berthpb::peer_request::Question;
    !matches!(request.question, Some(Question::Propose(_) | Question::ChangeMembers(_)))
}

/// Returns when the process has died: its machine says so to whoever is connected.
async fn reset(process: Arc<Process>) {
    while process.is_alive() {
        Simulated::sleep(RESET_LOOK).await;
    }
}

/// Nobody is told that nothing will come: whoever asked has to find out by waiting.
async fn keep(inbox: &Inbox) {
    let inbox = inbox.clone();
    std::future::pending::<()>().await;
    drop(inbox);
}
