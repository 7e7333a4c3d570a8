//! What [`CrashFs`] keeps and loses, since every crash test believes it.

use super::{CrashFs, CrashRule, SECTOR_BYTES, Vfs};
use std::path::Path;

const DIR: &str = "/d";
const PATH: &str = "/d/f";

/// A file with a durable name and 2000 durable bytes of 1, and 2000 of 2 written over them.
fn overwritten() -> CrashFs {
    let fs = CrashFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    let file = fs.create(Path::new(PATH)).unwrap();
    file.write_at(&[1; 2000], 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    file.write_at(&[2; 2000], 0).unwrap();
    fs
}

fn after(fs: &CrashFs, rule: CrashRule) -> Option<Vec<u8>> {
    fs.crash(rule).contents(Path::new(PATH))
}

#[test]
fn unsynced_writes_are_lost_kept_or_torn_by_rule() {
    // Proves: each rule does to one write what it says.
    let fs = overwritten();
    assert_eq!(fs.contents(Path::new(PATH)), Some(vec![2; 2000]));
    assert_eq!(after(&fs, CrashRule::DropAll), Some(vec![1; 2000]));
    assert_eq!(after(&fs, CrashRule::KeepAll), Some(vec![2; 2000]));
    let torn = after(&fs, CrashRule::KeepPrefix { changes: 0, sectors: 2 }).unwrap();
    let (kept, lost) = torn.split_at(2 * SECTOR_BYTES);
    assert!(kept.iter().all(|&byte| byte == 2) && lost.iter().all(|&byte| byte == 1));
    let mut sectors_seen = [[false; 3]; 4];
    for seed in 0..20 {
        let torn = after(&fs, CrashRule::Tear { seed }).unwrap();
        for (nth, sector) in torn.chunks(SECTOR_BYTES).enumerate() {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "torn within a sector");
            sectors_seen[nth][usize::from(sector[0])] = true;
        }
    }
    assert_eq!(sectors_seen, [[false, true, true]; 4]);
}

#[test]
fn names_need_their_directory_synced() {
    // Proves: syncing a file does not make its name durable; renames and removals can be lost too.
    let fs = CrashFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    let file = fs.create(Path::new(PATH)).unwrap();
    file.sync_data().unwrap();
    assert_eq!(after(&fs, CrashRule::DropAll), None);
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs.rename(Path::new(PATH), Path::new("/d/g")).unwrap();
    assert_eq!(after(&fs, CrashRule::DropAll), Some(Vec::new()));
    assert_eq!(after(&fs, CrashRule::KeepAll), None);
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs.remove(Path::new("/d/g")).unwrap();
    assert_eq!(fs.crash(CrashRule::DropAll).read_dir(Path::new(DIR)).unwrap(), ["g"]);
}

#[test]
fn a_failed_sync_leaves_the_file_as_if_clean() {
    // Proves: what was written before a failed sync is readable and never durable, even if a later
    // sync succeeds: why a sync must not be retried.
    let fs = overwritten();
    let file = fs.open(Path::new(PATH)).unwrap();
    fs.fail_at(fs.operations());
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(fs.contents(Path::new(PATH)), Some(vec![2; 2000]));
    assert_eq!(after(&fs, CrashRule::KeepAll), Some(vec![1; 2000]));
}

#[test]
fn a_kill_keeps_what_is_unsynced_and_still_to_be_lost() {
    // Proves: the death of the process alone loses nothing, but makes nothing durable.
    let killed = overwritten().kill();
    assert_eq!(killed.contents(Path::new(PATH)), Some(vec![2; 2000]));
    assert_eq!(after(&killed, CrashRule::DropAll), Some(vec![1; 2000]));
}

#[test]
fn without_power_nothing_changes() {
    // Proves: from the halt on every operation fails and leaves no trace.
    let fs = overwritten();
    fs.halt_at(fs.operations());
    let file = fs.open(Path::new(PATH)).unwrap();
    assert!(file.write_at(&[3; 10], 0).is_err() && file.sync_data().is_err());
    assert!(fs.create(Path::new("/d/new")).is_err() && fs.remove(Path::new(PATH)).is_err());
    assert_eq!((fs.contents(Path::new(PATH)), fs.pending()), (Some(vec![2; 2000]), 1));
}
