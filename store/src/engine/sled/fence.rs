//! The fence around a library that may panic: the first failure is remembered and final.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Turns panics into errors and lets nothing through after the first failure.
#[derive(Default)]
pub(super) struct Fence {
    failure: OnceLock<String>,
}

impl Fence {
    /// Something failed, and nothing passes any more.
    pub(super) fn is_broken(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Runs `work` unless an earlier one failed.
    pub(super) fn call<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(failure) = self.failure.get() {
            return Err(io::Error::other(format!("the engine failed before: {failure}")));
        }
        // Unwinding may leave what `work` touched half changed: no later call will see it.
        let error = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(panic) => io::Error::other(format!("sled panicked: {}", message(&*panic))),
        };
        let _ = self.failure.set(error.to_string());
        Err(error)
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic comes out as an error that carries its message, and ends all later calls.
    #[test]
    fn a_panic_is_an_error_and_final() {
        let fence = Fence::default();
        assert_eq!(fence.call(|| Ok(1)).unwrap(), 1);
        let error = fence.call(|| -> io::Result<()> { panic!("no {}", "leaf") }).unwrap_err();
        assert!(error.to_string().contains("no leaf"), "{error}");
        let later = fence.call(|| Ok(1)).unwrap_err();
        assert!(later.to_string().contains("no leaf"), "{later}");
    }

    /// An ordinary error ends all later calls too.
    #[test]
    fn an_error_is_final() {
        let fence = Fence::default();
        fence.call(|| -> io::Result<()> { Err(io::Error::other("disk")) }).unwrap_err();
        assert!(fence.call(|| Ok(())).is_err());
    }
}
