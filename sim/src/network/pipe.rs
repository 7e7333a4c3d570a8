//! One direction of a connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::stream::{BoxStream, Stream, StreamExt};
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use raft::peer::LinkError;

use super::Network;
use crate::runtime::world_ns;

/// How often a stalled connection looks whether it goes on.
const STALL_LOOK: Duration = Duration::from_millis(20);
/// How long it stalls before it is given up.
const STALL_MAX: Duration = Duration::from_secs(15);

/// Where to put in what shall arrive at the other end.
pub(super) struct Inlet<T>(mpsc::UnboundedSender<Piece<T>>);

enum Piece<T> {
    Item {
        sent_ns: u64,
        item: T,
    },
    /// There is nothing more to come; without it, the end is a break.
    End,
}

impl<T> Inlet<T> {
    /// False if the connection is gone.
    pub(super) fn put(&self, item: T) -> bool {
        if super::sender_is_dead() {
            return false;
        }
        self.0.unbounded_send(Piece::Item { sent_ns: world_ns(), item }).is_ok()
    }

    pub(super) fn end(&self) {
        if !super::sender_is_dead() {
            // The other side may be gone.
            let _ = self.0.unbounded_send(Piece::End);
        }
    }
}

/// What comes out at the end; dropping it closes the connection.
pub(super) struct Outlet<T> {
    items: mpsc::UnboundedReceiver<Result<T, LinkError>>,
    /// Dropped with this: who pumps learns of it.
    pub(super) guard: Option<oneshot::Sender<()>>,
}

impl<T: Send + 'static> Outlet<T> {
    pub(super) fn boxed(self) -> BoxStream<'static, Result<T, LinkError>> {
        StreamExt::boxed(self)
    }
}

impl<T> Stream for Outlet<T> {
    type Item = Result<T, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(context)
    }
}

impl Network {
    /// A direction of a new connection.
    pub(super) fn pipe<T: Send + 'static>(&self, from: u64, to: u64) -> (Inlet<T>, Outlet<T>) {
        let (inlet, pieces) = mpsc::unbounded();
        let (out, items) = mpsc::unbounded();
        // Of no process: what is on its way outlives its sender.
        drop(SimRuntime::spawn(self.clone().carry_all((from, to), pieces, out)));
        (Inlet(inlet), Outlet { items, guard: None })
    }

    async fn carry_all<T>(
        self,
        (from, to): (u64, u64),
        mut pieces: mpsc::UnboundedReceiver<Piece<T>>,
        out: mpsc::UnboundedSender<Result<T, LinkError>>,
    ) {
        loop {
            let item = match pieces.next().await {
                Some(Piece::Item { sent_ns, item }) => {
                    // As long as it takes from where it was sent; never before what went ahead.
                    let due_ns = sent_ns + nanos(self.delay());
                    SimRuntime::sleep(Duration::from_nanos(due_ns.saturating_sub(world_ns())))
                        .await;
                    item
                }
                Some(Piece::End) => return,
                None => return self.break_off((from, to), &out, "its other end is gone"),
            };
            if !self.get_through(from, to).await {
                return self.break_off((from, to), &out, "the connection broke");
            }
            self.count();
            if out.unbounded_send(Ok(item)).is_err() {
                return;
            }
        }
    }

    /// Waits while the way is blocked; false if the connection breaks.
    async fn get_through(&self, from: u64, to: u64) -> bool {
        let mut stalled = Duration::ZERO;
        while self.is_blocked(from, to) {
            if stalled >= STALL_MAX || self.chance.one_in_thousand(20) {
                return false;
            }
            SimRuntime::sleep(STALL_LOOK).await;
            stalled += STALL_LOOK;
        }
        !self.chance.one_in_thousand(self.weather().broken)
    }

    fn break_off<T>(
        &self,
        (from, to): (u64, u64),
        out: &mpsc::UnboundedSender<Result<T, LinkError>>,
        why: &str,
    ) {
        self.log.line(format_args!("net {from}->{to} stream ends: {why}"));
        // Nobody may be listening any more.
        let _ = out.unbounded_send(Err(LinkError::Interrupted(why.to_owned())));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 8)
}
