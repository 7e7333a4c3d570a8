//! What a call has done so far, and when: for the line about one that took long, and for its spans.
//!
//! The steps of a call travel with the task that answers it ([`Steps::scope`]); work outside of any
//! call records nothing. What the log and the state machine do for it is told by `raft`
//! ([`raft::Trail`]). It must never change what a call does, and costs it some memory and a look at
//! the clock for each step.
//!
//! Start at [`step`].

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use raft::Trail;

/// Of one call; what it does after that is not recorded.
const STEPS_MAX: usize = 16;

tokio::task_local! {
    static CURRENT: Steps;
}

thread_local! {
    /// On the thread that writes the log: its last write.
    static LAST_WRITE: Cell<Option<LogWrite>> = const { Cell::new(None) };
}

/// One write of the log: when it began, when its sync began, and when that had ended.
#[derive(Clone, Copy, Debug)]
pub struct LogWrite {
    pub began: Instant,
    pub sync_began: Instant,
    pub ended: Instant,
}

/// Of a step; `ended` is `None` while it lasts, and of one that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub name: &'static str,
    pub began: Instant,
    pub ended: Option<Instant>,
    /// It is part of the step before it that is not: of the proposal, whose log entry it is about.
    pub is_inner: bool,
}

/// The steps of one call, in the order in which they began. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Steps(Arc<Recorded>);

#[derive(Debug, Default)]
struct Recorded(Mutex<Vec<Step>>);

impl Steps {
    /// Those of the call that this task answers now; outside of any, those of a new one.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// `work` with everything it awaits is of this call.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    pub fn recorded(&self) -> Vec<Step> {
        self.0.0.lock().clone()
    }
}

/// Who follows the proposals of the call that this task answers; `None` outside of any.
pub(crate) fn trail() -> Option<Arc<dyn Trail>> {
    CURRENT.try_with(|steps| steps.0.clone() as Arc<dyn Trail>).ok()
}

/// Awaits `work` as a step of the call that this task answers, if it answers one.
pub(crate) async fn step<F: Future>(name: &'static str, work: F) -> F::Output {
    let Ok(steps) = CURRENT.try_with(Clone::clone) else { return work.await };
    let place = steps.0.begin(name, false);
    let output = work.await;
    steps.0.end(place);
    output
}

/// Takes note of a write of the log, on the thread that writes it.
pub(crate) fn note_write(write: LogWrite) {
    LAST_WRITE.set(Some(write));
}

impl Recorded {
    fn begin(&self, name: &'static str, is_inner: bool) -> usize {
        let mut steps = self.0.lock();
        if steps.len() < STEPS_MAX {
            steps.push(Step { name, began: Instant::now(), ended: None, is_inner });
            return steps.len() - 1;
        }
        STEPS_MAX
    }

    fn end(&self, place: usize) {
        if let Some(step) = self.0.lock().get_mut(place) {
            step.ended = Some(Instant::now());
        }
    }
}

impl Trail for Recorded {
    fn written(&self) {
        let Some(write) = LAST_WRITE.get() else { return };
        let mut steps = self.0.lock();
        for (name, began, ended) in [
            ("log write", write.began, write.sync_began),
            ("log sync", write.sync_began, write.ended),
        ] {
            if steps.len() < STEPS_MAX {
                steps.push(Step { name, began, ended: Some(ended), is_inner: true });
            }
        }
    }

    fn applying(&self) {
        self.begin(APPLY, true);
    }

    fn applied(&self) {
        let mut steps = self.0.lock();
        if let Some(step) = steps.iter_mut().rev().find(|step| step.name == APPLY) {
            step.ended = Some(Instant::now());
        }
    }
}

const APPLY: &str = "apply";

/// `range 2.1ms, propose 104.0ms, log write 0.1ms`; one that has not ended has a dash for its time.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.recorded().iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match step.ended {
                Some(ended) => {
                    let took = ended.saturating_duration_since(step.began);
                    write!(f, "{comma}{} {}", step.name, Millis(took))?;
                }
                None => write!(f, "{comma}{} -", step.name)?,
            }
        }
        Ok(())
    }
}

/// As Go writes times of this size.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}ms", self.0.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &Steps) -> Vec<(&'static str, bool, bool)> {
        let name = |step: &Step| (step.name, step.is_inner, step.ended.is_some());
        steps.recorded().iter().map(name).collect()
    }

    #[tokio::test]
    async fn steps_are_of_the_call_whose_task_does_them() {
        // Proves that steps, and what a proposal's trail tells, go to the call within which they
        // happen, that a step which was given up has no end, and that others are not recorded.
        let (one, other) = (Steps::default(), Steps::default());
        one.clone()
            .scope(async {
                step("range", async {}).await;
                step("propose", async {
                    let trail = trail().expect("within a call");
                    let now = Instant::now();
                    note_write(LogWrite { began: now, sync_began: now, ended: now });
                    trail.written();
                    trail.applying();
                    trail.applied();
                })
                .await;
                let forever = step("range", std::future::pending::<()>());
                tokio::select! { biased; () = forever => {} () = std::future::ready(()) => {} }
            })
            .await;
        other.clone().scope(async {}).await;
        step("range", async {}).await;
        let expected = [
            ("range", false, true),
            ("propose", false, true),
            ("log write", true, true),
            ("log sync", true, true),
            ("apply", true, true),
            ("range", false, false),
        ];
        assert_eq!(names(&one), expected);
        assert_eq!(names(&other), []);
        assert!(trail().is_none());
        assert!(one.to_string().ends_with(", range -"), "{one}");
    }

    #[test]
    fn a_call_has_so_many_steps_and_no_more() {
        // Proves the bound, which keeps what a long call costs the same.
        let steps = Steps::default();
        (0..2 * STEPS_MAX).for_each(|_| {
            let place = steps.0.begin("range", false);
            steps.0.end(place);
        });
        assert_eq!(steps.recorded().len(), STEPS_MAX);
    }
}
