//! Admission by bytes in flight: overload slows callers down instead of filling memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// Counts the bytes of commands that are proposed and not yet answered.
#[derive(Clone)]
pub(crate) struct Admission {
    inflight: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes let in; dropping it lets them out.
pub(crate) struct Permit {
    inflight: Arc<AtomicUsize>,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(bytes_max: usize) -> Admission {
        Admission { inflight: Arc::default(), bytes_max }
    }

    /// Lets `bytes` in, unless that passes the bound. One command alone always fits.
    pub(crate) fn enter(&self, bytes: usize) -> Result<Permit, Error> {
        let enter = |inflight: usize| {
            let after = inflight.saturating_add(bytes);
            (inflight == 0 || after <= self.bytes_max).then_some(after)
        };
        match self.inflight.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter) {
            Ok(_) => Ok(Permit { inflight: self.inflight.clone(), bytes }),
            Err(_) => Err(Error::TooManyRequests),
        }
    }

    pub(crate) fn inflight_bytes(&self) -> usize {
        self.inflight.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inflight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_callers_are_refused_until_others_leave() {
        // Proves the bound, that leaving makes room, and that no command is too large for ever.
        let admission = Admission::new(100);
        let first = admission.enter(60).unwrap();
        let second = admission.enter(40).unwrap();
        assert_eq!(admission.enter(1).err(), Some(Error::TooManyRequests));
        drop(first);
        assert_eq!(admission.inflight_bytes(), 40);
        admission.enter(60).unwrap();
        assert_eq!(admission.enter(61).err(), Some(Error::TooManyRequests));
        drop(second);
        admission.enter(1000).unwrap();
    }
}
