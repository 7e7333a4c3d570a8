//! What a point does when it is passed: the first link of its chain that allows itself.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::term::{self, Action, Term};

/// The terms that a point is set to.
pub(super) struct Chain {
    text: String,
    terms: Mutex<Vec<Term>>,
    /// How often one of them was carried out.
    count: AtomicU64,
}

impl Chain {
    /// # Errors
    /// What of it is no term.
    pub(super) fn new(text: &str) -> Result<Chain, String> {
        let terms = Mutex::new(term::parse(text)?);
        Ok(Chain { text: text.trim().to_owned(), terms, count: AtomicU64::new(0) })
    }

    /// As it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Somebody passes the point `name`. Does not return from a panic.
    pub(super) fn pass(&self, name: &str) {
        let action = term::choose(&mut self.terms.lock(), rand::random);
        if action.is_some() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        match action {
            None | Some(Action::Nothing) => {}
            Some(Action::Sleep(duration)) => sleep(duration),
            Some(Action::Panic(message)) => end(name, message.as_deref()),
            Some(Action::Print) => eprintln!("failpoint print: {name}"),
        }
    }
}

/// In Go one goroutine sleeps and the others run: where a task of the runtime sleeps, its thread's
/// other tasks are taken over first.
fn sleep(duration: Duration) {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(|| thread::sleep(duration));
    } else {
        thread::sleep(duration);
    }
}

/// Ends the process as a crash does: nothing is flushed, closed or handed over.
fn end(name: &str, message: Option<&str>) -> ! {
    match message {
        Some(message) => eprintln!("failpoint panic: {name}: {message}"),
        None => eprintln!("failpoint panic: {name}"),
    }
    process::abort()
}
