//! Memory for values that are read ahead, shared by all large answers that are being sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For one answer: the more, the less often the engine must look at the same place again.
const BYTES_MAX: usize = 32 << 20;
/// For one answer among very many.
const BYTES_MIN: usize = 1 << 20;
/// For all; each then gets half of what is left.
const TOTAL_BYTES: usize = 128 << 20;

const _: () = assert!(BYTES_MIN < BYTES_MAX && 2 * BYTES_MAX < TOTAL_BYTES);

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct ReadAhead {
    granted: Arc<AtomicUsize>,
}

/// Dropping it gives the bytes back.
pub(crate) struct Grant {
    granted: Arc<AtomicUsize>,
    pub(crate) bytes: usize,
}

impl ReadAhead {
    pub(crate) fn grant(&self) -> Grant {
        let share =
            |granted: usize| (TOTAL_BYTES.saturating_sub(granted) / 2).clamp(BYTES_MIN, BYTES_MAX);
        let update = |granted| Some(granted + share(granted));
        let before = self.granted.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        let before = before.expect("the update always has an answer");
        Grant { granted: Arc::clone(&self.granted), bytes: share(before) }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.granted.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_answers_share_what_one_may_have() {
        // Proves that one gets all it can use, that a crowd gets no more than the whole and a least
        // for each, and that everything comes back.
        let shared = ReadAhead::default();
        assert_eq!(shared.grant().bytes, BYTES_MAX);
        let crowd: Vec<Grant> = (0..100).map(|_| shared.grant()).collect();
        let bytes: usize = crowd.iter().map(|grant| grant.bytes).sum();
        assert!(bytes <= TOTAL_BYTES + crowd.len() * BYTES_MIN, "{bytes}");
        assert!(crowd.iter().all(|grant| grant.bytes >= BYTES_MIN));
        drop(crowd);
        assert_eq!(shared.grant().bytes, BYTES_MAX);
    }
}
