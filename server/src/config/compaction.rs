//! How much history auto-compaction keeps.

use std::time::Duration;

use super::duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keep what is younger than this.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(i64),
}

/// Reads mode and retention as etcd's `parseCompactionRetention`: a bare number is hours or
/// revisions, by the mode. `None`: nothing is compacted.
///
/// # Errors
/// One line when the retention is neither number nor duration, or a revision mode has no number.
pub(super) fn parse(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, String> {
    let wrong = || format!("error parsing CompactionRetention: invalid value {retention:?}");
    if mode == "revision" {
        let keep: i64 = retention.parse().map_err(|_| wrong())?;
        return Ok((keep > 0).then_some(AutoCompaction::Revision(keep)));
    }
    let ns = match retention.parse::<i64>() {
        Ok(hours) => hours.checked_mul(3_600_000_000_000).ok_or_else(wrong)?,
        Err(_) => duration::parse(retention).ok_or_else(wrong)?,
    };
    let keep = Duration::from_nanos(u64::try_from(ns).map_err(|_| wrong())?);
    Ok((!keep.is_zero()).then_some(AutoCompaction::Periodic(keep)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_hours_or_revisions() {
        // Shows both modes, their zero, and what is refused.
        let hours = |h: u64| Some(AutoCompaction::Periodic(Duration::from_secs(h * 3_600)));
        assert_eq!(parse("periodic", "5").unwrap(), hours(5));
        assert_eq!(parse("periodic", "60m").unwrap(), hours(1));
        assert_eq!(parse("revision", "1000").unwrap(), Some(AutoCompaction::Revision(1000)));
        assert_eq!(parse("revision", "0").unwrap(), None);
        assert_eq!(parse("periodic", "0").unwrap(), None);
        for (mode, text) in [("revision", "5m"), ("periodic", "x"), ("periodic", "-1h")] {
            assert!(parse(mode, text).is_err(), "{mode} {text}");
        }
    }
}
