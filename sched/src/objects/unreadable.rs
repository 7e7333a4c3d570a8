//! What lies below `/registry/` and cannot be read as an object of its kind.
//!
//! One such key must not stop everything else of its kind, so it is passed over; but never
//! silently: each is told of once, and counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Error, ErrorKind};

/// Keys that are remembered as told of. With more, some are told of again.
const TOLD_MAX: usize = 10_000;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// Up to which revision each key was told of.
static TOLD: Mutex<BTreeMap<Bytes, i64>> = Mutex::new(BTreeMap::new());

/// Documents found so far, by all of this process, that could not be read: each version of a key
/// once.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Tells of a document of which nothing, or not all, can be read, and why: that is returned.
pub(super) fn told(key: &Bytes, revision: i64, reason: &str) -> Error {
    let name = String::from_utf8_lossy(key);
    let error = Error::new(ErrorKind::Unreadable, format!("{name} holds no object: {reason}"));
    tell(key, revision, &error);
    error
}

/// Tells of a document that is passed over, unless this version of it has been told of.
pub fn tell(key: &Bytes, revision: i64, error: &Error) {
    {
        let mut told = TOLD.lock();
        if told.get(key).is_some_and(|known| *known >= revision) {
            return;
        }
        told.insert(key.clone(), revision);
        if told.len() > TOLD_MAX {
            told.pop_first();
        }
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    let key = String::from_utf8_lossy(key);
    tracing::warn!(%key, revision, "passed over until it is mended or deleted: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_counted_once() {
        // Proves that reading the same again counts nothing, that a new version does, and that a
        // look at an older revision does not.
        let error = Error::new(ErrorKind::Unreadable, "no JSON");
        let key = Bytes::from_static(b"/registry/pods/a/counted");
        let mut counted = Vec::new();
        for revision in [3, 3, 5, 3, 5] {
            tell(&key, revision, &error);
            counted.push(TOLD.lock().get(&key).copied());
        }
        assert_eq!(counted, [Some(3), Some(3), Some(5), Some(5), Some(5)]);
        assert!(count() >= 2);
    }
}
