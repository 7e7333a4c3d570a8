/// Every point that there is, sorted. Each has its place in `docs/internals/failpoints.md`.
pub const NAMES: &[&str] = &[
    "afterCommit",
    "afterStartDBTxn",
    "afterWritebackBuf",
    "applyAfterOpenSnapshot",
    "applyBeforeOpenSnapshot",
    "beforeApplyOneConfChange",
    "beforeApplyOneEntryNormal",
    "beforeCommit",
    "beforeMoveVictims",
    "beforeProgressIfSync",
    "beforePublishing",
    "beforeSendWatchResponse",
    "beforeStartDBTxn",
    "beforeSyncWatchers",
    "beforeWritebackBuf",
    "commitAfterPreCommitHook",
    "commitBeforePreCommitHook",
    "compactAfterAcquiredBatchTxLock",
    "compactAfterCommitBatch",
    "compactAfterCommitScheduledCompact",
    "compactAfterSetFinishedCompact",
    "compactBeforeCommitBatch",
    "compactBeforeCommitScheduledCompact",
    "compactBeforeSetFinishedCompact",
    "defragBeforeCopy",
    "defragBeforeRename",
    "raftAfterApplySnap",
    "raftAfterSave",
    "raftAfterSaveSnap",
    "raftAfterWALRelease",
    "raftBeforeApplySnap",
    "raftBeforeFollowerSend",
    "raftBeforeLeaderSend",
    "raftBeforeSave",
    "raftBeforeSaveSnap",
    "walAfterSync",
    "walBeforeSync",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_documented() {
        // Proves that the list is in the order in which it is served, and that the table of places
        // in the documentation has exactly these names.
        assert!(NAMES.is_sorted_by(|a, b| a < b));
        let page = include_str!("../../../docs/internals/failpoints.md");
        let (_, page) = page.split_once("## Places").expect("the page has that heading");
        let (places, _) = page.split_once("## Left out").expect("the page has that heading");
        let rows = places.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut documented: Vec<&str> = rows.collect();
        documented.sort_unstable();
        assert_eq!(documented, NAMES);
    }
}
