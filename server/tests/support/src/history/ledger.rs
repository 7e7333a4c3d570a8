//! What the load attempted and what the server acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard};

/// An acknowledged write of one key. A deletion has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub revision: i64,
    pub value: Option<Vec<u8>>,
}

/// What has to hold after a crash.
#[derive(Clone, Debug)]
pub struct Promises {
    /// The highest acknowledged revision.
    pub revision: i64,
    /// The last acknowledged write of each key.
    pub writes: BTreeMap<String, Write>,
    /// Leases granted and not revoked.
    pub leases: BTreeSet<i64>,
}

/// The book that all tasks of the load write into.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Every value that was ever sent; each is unique.
    attempted: HashSet<Vec<u8>>,
    acknowledged: Vec<(String, Write)>,
    leases: BTreeSet<i64>,
    compacted: i64,
    unknown: u64,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no holder panics")
    }

    /// Before the call: this value may appear from now on.
    pub fn attempt(&self, value: &[u8]) {
        self.book().attempted.insert(value.to_vec());
    }

    /// After the answer: this write may never disappear.
    pub fn acknowledge(&self, key: &str, revision: i64, value: Option<&[u8]>) {
        let write = Write { revision, value: value.map(<[u8]>::to_vec) };
        self.book().acknowledged.push((key.to_owned(), write));
    }

    /// A call failed after it was sent: it may have happened or not.
    pub fn outcome_unknown(&self) {
        self.book().unknown += 1;
    }

    /// After the answer: this lease lives.
    pub fn lease_granted(&self, lease: i64) {
        self.book().leases.insert(lease);
    }

    /// Before the call that revokes it: from now on it may be gone.
    pub fn lease_given_up(&self, lease: i64) {
        self.book().leases.remove(&lease);
    }

    /// Before the call that compacts: older history may be gone.
    pub fn compacting(&self, revision: i64) {
        self.book().compacted = revision;
    }

    /// What is compacted at most.
    pub fn compacted(&self) -> i64 {
        self.book().compacted
    }

    /// Whether anybody ever sent this value.
    pub fn was_attempted(&self, value: &[u8]) -> bool {
        self.book().attempted.contains(value)
    }

    /// Every acknowledged write, oldest acknowledgement first.
    pub fn acknowledged(&self) -> Vec<(String, Write)> {
        self.book().acknowledged.clone()
    }

    /// What has to hold from now on.
    pub fn promises(&self) -> Promises {
        let book = self.book();
        let mut writes: BTreeMap<String, Write> = BTreeMap::new();
        for (key, write) in &book.acknowledged {
            let last = writes.entry(key.clone()).or_insert_with(|| write.clone());
            if last.revision < write.revision {
                last.clone_from(write);
            }
        }
        let revision = writes.values().map(|write| write.revision).max().unwrap_or(1);
        Promises { revision, writes, leases: book.leases.clone() }
    }

    /// Counts, for the end of a run.
    pub fn summary(&self) -> String {
        let book = self.book();
        format!(
            "{} acknowledged writes, {} of unknown outcome, {} leases, compacted to {}",
            book.acknowledged.len(),
            book.unknown,
            book.leases.len(),
            book.compacted
        )
    }
}
