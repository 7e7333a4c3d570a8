//! A panic anywhere in the simulated world is a finding: an assertion that did not hold.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// From now on panics are noted instead of printed.
pub fn note_all() {
    panic::set_hook(Box::new(|panic| {
        SEEN.with(|seen| seen.borrow_mut().push(panic.to_string()));
    }));
}

pub fn forget() {
    SEEN.with(|seen| seen.borrow_mut().clear());
}

pub fn take() -> Vec<String> {
    SEEN.take()
}
