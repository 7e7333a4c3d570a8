//! Tasks that live, stop and die together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;

use super::Clock;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
}

/// A process of the simulated world.
pub(crate) struct Process {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    life: Life,
    next: u64,
    /// What wakes each task of the process.
    tasks: BTreeMap<u64, Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

impl Process {
    pub(crate) fn start(clock: Clock) -> Arc<Process> {
        let state = State { life: Life::Running, next: 0, tasks: BTreeMap::new() };
        Arc::new(Process { clock, state: Mutex::new(state) })
    }

    /// The process whose task is being polled; `None`: it belongs to the outside.
    pub(crate) fn current() -> Option<Arc<Process>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.state.lock().life != Life::Dead
    }

    /// Runs a task in the process. If it dies, the task is dropped and its handle never resolves.
    pub(crate) fn spawn<T>(
        self: &Arc<Self>,
        future: T,
    ) -> <SimRuntime as AsyncRuntime>::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let id = {
            let mut state = self.state.lock();
            state.next += 1;
            state.next
        };
        SimRuntime::spawn(Task { process: self.clone(), id, future: Some(Box::pin(future)) })
    }

    /// Drops all tasks where they stand.
    pub(crate) fn kill(&self) {
        self.become_(Life::Dead);
    }

    /// Polls no task until [`Process::resume`]; timers go off meanwhile, and nobody hears them.
    pub(crate) fn pause(&self) {
        self.become_(Life::Paused);
    }

    pub(crate) fn resume(&self) {
        self.become_(Life::Running);
    }

    fn become_(&self, life: Life) {
        let mut state = self.state.lock();
        if state.life == Life::Dead {
            return;
        }
        state.life = life;
        let wakers: Vec<Waker> = state.tasks.values().cloned().collect();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Notes how the task is woken.
    fn visit(&self, id: u64, waker: &Waker) -> Life {
        let mut state = self.state.lock();
        if state.life != Life::Dead {
            state.tasks.insert(id, waker.clone());
        }
        state.life
    }

    fn leave(&self, id: u64) {
        self.state.lock().tasks.remove(&id);
    }
}

/// What is done until it is dropped belongs to the process.
struct Scope(Option<Arc<Process>>);

impl Scope {
    fn enter(process: &Arc<Process>) -> Scope {
        Scope(CURRENT.with(|current| current.replace(Some(process.clone()))))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let before = self.0.take();
        CURRENT.with(|current| current.replace(before));
    }
}

struct Task<F> {
    process: Arc<Process>,
    id: u64,
    future: Option<Pin<Box<F>>>,
}

impl<F> Task<F> {
    fn end(&mut self) {
        self.process.leave(self.id);
        let _scope = Scope::enter(&self.process);
        drop(self.future.take());
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.process.visit(self.id, context.waker()) {
            Life::Running => {}
            Life::Paused => return Poll::Pending,
            Life::Dead => {
                self.end();
                return Poll::Pending;
            }
        }
        let scope = Scope::enter(&self.process.clone());
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        drop(scope);
        if polled.is_ready() || !self.process.is_alive() {
            self.end();
        }
        polled
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        self.end();
    }
}
