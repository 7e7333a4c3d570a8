//! The most recent batches, for watchers that are a little behind.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Options;
use crate::event::Batch;

/// Invariant: it holds every batch from revision `first` up to the newest one pushed.
pub(crate) struct Ring {
    batches: VecDeque<Arc<Batch>>,
    first: i64,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    /// An empty ring, of which `first` will be the first batch.
    pub(crate) fn new(first: i64, bytes_max: usize) -> Ring {
        Ring { batches: VecDeque::new(), first, bytes: 0, bytes_max }
    }

    pub(crate) fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.cost();
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.first = oldest.revision + 1;
        }
    }

    /// Forgets everything: the next batch will be `first`.
    pub(crate) fn restart(&mut self, first: i64) {
        *self = Ring::new(first, self.bytes_max);
    }

    pub(crate) fn covers(&self, revision: i64) -> bool {
        revision >= self.first
    }

    /// One slice of batches from revision `from` on, with at least one if there is one.
    pub(crate) fn slice(&self, from: i64, options: &Options) -> Vec<Arc<Batch>> {
        let start = self.batches.partition_point(|batch| batch.revision < from);
        let count_max = usize::try_from(options.slice_revisions).unwrap_or(usize::MAX);
        let mut slice = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.range(start..).take(count_max.max(1)) {
            slice.push(Arc::clone(batch));
            bytes += batch.events.iter().map(|event| event.cost(false)).sum::<usize>();
            if bytes >= options.slice_bytes {
                break;
            }
        }
        slice
    }
}
