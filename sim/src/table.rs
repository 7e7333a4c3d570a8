//! What a person reads.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Table, presets};
use sim::Report;

/// What happened in all runs together, and how many seeds saw it.
pub(crate) fn of(reports: &[Report]) -> String {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (what, count) in reports.iter().flat_map(|report| &report.counts) {
        let sum = sums.entry(what).or_default();
        *sum = (sum.0 + count, sum.1 + 1);
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["what", "how often", "in seeds"]);
    for (what, (count, seeds)) in sums {
        table.add_row([what.to_owned(), count.to_string(), seeds.to_string()]);
    }
    let seconds: u64 = reports.iter().map(|report| report.seconds).sum();
    let failed = reports.iter().filter(|report| !report.violations.is_empty()).count();
    let mut text = table.to_string();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{} seeds, {seconds} simulated seconds, {failed} with violations",
        reports.len()
    );
    if let [report] = reports {
        let (lines, checksum) = report.digest;
        let _ = writeln!(text, "log of {lines} lines, checksum {checksum:08x}");
    }
    text
}

/// What one seed saw, and how to see it again.
pub(crate) fn of_failure(report: &Report) -> String {
    let mut text = format!("\nseed {} failed:\n", report.seed);
    for violation in &report.violations {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}: {}", violation.of, violation.what);
    }
    let _ = write!(text, "  replay: cargo run -p sim --release -- --seed {} --log", report.seed);
    text
}
