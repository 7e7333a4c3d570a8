//! The retained versions of one key.

use smallvec::SmallVec;

use crate::{Entry, Revision};

/// The versions of one key, ascending. Invariant: never empty inside the tree, revisions strictly
/// ascend, no tombstone follows a tombstone.
///
/// A generation runs from a creation to the tombstone that ends it; nothing marks it but that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    versions: SmallVec<[Version; 1]>,
}

/// An [`Entry`] in fewer bytes: most memory of a store with many keys is these.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Version {
    main: i64,
    sub: u32,
    value_len: u32,
    create_revision: i64,
    /// 0 says tombstone.
    version: i64,
    lease: i64,
}

impl Version {
    fn revision(&self) -> Revision {
        Revision::new(self.main, self.sub)
    }
}

impl From<Entry> for Version {
    fn from(entry: Entry) -> Self {
        assert_eq!(entry.tombstone, entry.version == 0, "only a tombstone has version 0");
        Version {
            main: entry.revision.main,
            sub: entry.revision.sub,
            value_len: entry.value_len,
            create_revision: entry.create_revision,
            version: entry.version,
            lease: entry.lease,
        }
    }
}

impl From<Version> for Entry {
    fn from(version: Version) -> Self {
        Entry {
            revision: Revision::new(version.main, version.sub),
            tombstone: version.version == 0,
            create_revision: version.create_revision,
            version: version.version,
            lease: version.lease,
            value_len: version.value_len,
        }
    }
}

impl History {
    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }

    /// The newest version, which may be a tombstone.
    pub(crate) fn newest(&self) -> Option<Entry> {
        self.versions.last().map(|version| Entry::from(*version))
    }

    /// The newest version if the key exists now.
    pub(crate) fn current(&self) -> Option<Entry> {
        self.newest().filter(|entry| !entry.tombstone)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.versions.last().is_some_and(|version| version.version != 0)
    }

    /// What a reader at main revision `main` sees: the last version up to it, unless deleted.
    pub(crate) fn at(&self, main: i64) -> Option<Entry> {
        let newest = self.versions.last()?;
        if newest.main <= main {
            return self.current();
        }
        let seen = self.versions.partition_point(|version| version.main <= main);
        let entry = Entry::from(*self.versions.get(seen.checked_sub(1)?)?);
        (!entry.tombstone).then_some(entry)
    }

    /// Whether `entry` can follow: versions of a key are written in order, and only what exists
    /// is deleted.
    pub(crate) fn can_push(&self, entry: &Entry) -> bool {
        self.newest().is_none_or(|newest| {
            newest.revision < entry.revision && !(newest.tombstone && entry.tombstone)
        })
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        assert!(self.can_push(&entry), "{entry:?} cannot follow {:?}", self.newest());
        self.versions.push(entry.into());
    }

    /// Whether a compaction at `revision` keeps the version written at `written`.
    pub(crate) fn retains(&self, written: Revision, revision: i64) -> bool {
        let kept = &self.versions[self.first_kept(revision)..];
        kept.binary_search_by_key(&written, Version::revision).is_ok()
    }

    /// Forgets what a compaction at `revision` does not keep, and says which it was.
    pub(crate) fn compact(&mut self, revision: i64, mut removed: impl FnMut(Entry)) {
        let kept = self.first_kept(revision);
        self.versions.drain(..kept).for_each(|version| removed(version.into()));
        self.versions.shrink_to_fit();
    }

    /// Whether a compaction at `revision` would forget anything.
    pub(crate) fn is_compactable(&self, revision: i64) -> bool {
        self.first_kept(revision) > 0
    }

    /// Where the versions begin that a compaction at `revision` keeps.
    ///
    /// They are: the version that a reader at `revision` sees, everything later, and deletions at
    /// exactly `revision` (a watcher may still start there). It makes no difference whether an
    /// earlier compaction has already taken its part.
    fn first_kept(&self, revision: i64) -> usize {
        let before = self.versions.partition_point(|version| version.main < revision);
        let seen = self.versions.partition_point(|version| version.main <= revision);
        let is_tombstone = |version: &Version| version.version == 0;
        if let Some(deletion) = self.versions[before..seen].iter().position(is_tombstone) {
            return before + deletion;
        }
        match self.versions[..seen].last() {
            None => 0,
            Some(last) if is_tombstone(last) => seen,
            Some(_) => seen - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(main: i64, sub: u32) -> Entry {
        let revision = Revision::new(main, sub);
        Entry { revision, tombstone: false, create_revision: 1, version: 1, lease: 0, value_len: 0 }
    }

    fn tombstone(main: i64, sub: u32) -> Entry {
        let entry = put(main, sub);
        Entry { tombstone: true, create_revision: 0, version: 0, ..entry }
    }

    fn history(entries: &[Entry]) -> History {
        let mut history = History::default();
        entries.iter().for_each(|entry| history.push(*entry));
        history
    }

    fn kept(entries: &[Entry], revision: i64) -> Vec<Revision> {
        let all = entries.iter().map(|entry| entry.revision);
        let history = history(entries);
        let kept: Vec<_> = all.filter(|written| history.retains(*written, revision)).collect();
        let mut compacted = history.clone();
        compacted.compact(revision, |_| ());
        assert_eq!(compacted.versions.iter().map(Version::revision).collect::<Vec<_>>(), kept);
        kept
    }

    #[test]
    fn a_reader_sees_the_last_version_up_to_its_revision() {
        // At every revision the visible version is the last one written, and none after a delete.
        let history = history(&[put(2, 0), put(4, 1), tombstone(6, 0), put(9, 0)]);
        let seen: Vec<_> = (1..=10).map(|main| history.at(main).map(|e| e.revision.main)).collect();
        let (two, four, nine) = (Some(2), Some(4), Some(9));
        assert_eq!(seen, [None, two, two, four, four, None, None, None, nine, nine]);
    }

    #[test]
    fn compaction_keeps_what_its_revision_shows_and_deletions_at_it() {
        // The cases of etcd's key index, one by one.
        let all = [put(2, 0), put(4, 0), tombstone(6, 0), put(9, 0)];
        let revisions = |mains: &[i64]| -> Vec<_> {
            mains.iter().map(|main| Revision::new(*main, 0)).collect()
        };
        assert_eq!(kept(&all, 1), revisions(&[2, 4, 6, 9]));
        assert_eq!(kept(&all, 3), revisions(&[2, 4, 6, 9]));
        assert_eq!(kept(&all, 4), revisions(&[4, 6, 9]));
        assert_eq!(kept(&all, 6), revisions(&[6, 9]));
        assert_eq!(kept(&all, 7), revisions(&[9]));
        assert_eq!(kept(&all[..3], 7), []);
    }

    #[test]
    fn compaction_keeps_all_of_its_revision_from_the_first_deletion_on() {
        // One transaction can delete and create a key again: its deletion is kept with the rest.
        let all = [put(2, 0), tombstone(5, 0), put(5, 1), tombstone(5, 2), put(5, 3)];
        let from_one = [(5, 0), (5, 1), (5, 2), (5, 3)].map(|(main, sub)| Revision::new(main, sub));
        assert_eq!(kept(&all, 5), from_one);
        assert_eq!(kept(&all, 6), [Revision::new(5, 3)]);
    }
}
