//! Saying that something was not tested.

use std::io::Write;

/// Reports a test, or a part of one, that this machine does not permit. `./test` counts these
/// lines.
pub fn skipped(what: &str, why: &str) {
    // Straight to the descriptor: what a passing test prints with macros is never shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}
