//! A deadline for answers on a stream that may be silent for hours when nothing was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use openraft::AsyncRuntime;

use super::transport::{Answers, LinkError};

/// Counts requests and answers of one stream. Clones share the counts.
#[derive(Clone)]
pub(super) struct Patience {
    asked: Arc<AtomicU64>,
    answer_max: Duration,
}

impl Patience {
    pub(super) fn new(answer_max: Duration) -> Patience {
        Patience { asked: Arc::default(), answer_max }
    }

    /// One more request went out.
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
    }

    /// The answers, ended by [`LinkError::TimedOut`] when requests stay unanswered for one to two
    /// times the limit.
    pub(super) fn watch<R: AsyncRuntime>(
        self,
        answers: Answers,
    ) -> BoxStream<'static, Result<api::berthpb::AppendResponse, LinkError>> {
        let state = Some((self, answers, 0));
        let watched = stream::unfold(state, |state| async move {
            let (patience, mut answers, answered) = state?;
            match patience.next::<R>(&mut answers, answered).await? {
                Ok(answer) => Some((Ok(answer), Some((patience, answers, answered + 1)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        watched.boxed()
    }

    async fn next<R: AsyncRuntime>(
        &self,
        answers: &mut Answers,
        answered: u64,
    ) -> Option<Result<api::berthpb::AppendResponse, LinkError>> {
        let mut overdue = false;
        loop {
            match R::timeout(self.answer_max, answers.next()).await {
                Ok(answer) => return answer,
                Err(_) if overdue => return Some(Err(LinkError::TimedOut)),
                Err(_) => overdue = self.asked.load(Ordering::Acquire) > answered,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::berthpb::AppendResponse;
    use openraft_rt_tokio::TokioRuntime;

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_only_when_something_was_asked() {
        // Proves that an idle stream waits for ever, and that an unanswered request ends it.
        let patience = Patience::new(Duration::from_secs(5));
        let (tx, rx) = futures::channel::mpsc::unbounded();
        let mut answers = patience.clone().watch::<TokioRuntime>(rx.boxed());
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, answers.next()).await.is_err());
        patience.asked();
        tx.unbounded_send(Ok(AppendResponse::default())).unwrap();
        assert!(matches!(answers.next().await, Some(Ok(_))));
        patience.asked();
        let next = tokio::time::timeout(Duration::from_secs(11), answers.next()).await;
        assert!(matches!(next, Ok(Some(Err(LinkError::TimedOut)))));
        assert!(answers.next().await.is_none());
    }
}
