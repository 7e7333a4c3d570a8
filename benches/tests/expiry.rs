//! The measurement of expiry, as small as it gets: it runs, and counts what it should.

use std::path::Path;
use std::process::Command;

#[test]
fn expiry_is_measured() {
    // Proves that instances are killed and leases end, that both are seen to go, and that the leases
    // which end together take fewer entries than there are of them.
    let benches = Path::new(env!("CARGO_BIN_EXE_benches"));
    if !benches.with_file_name("berth").exists() {
        // Alone, this package is built without it.
        return eprintln!("SKIPPED the measurement of expiry: berth is not built: cargo build");
    }
    let small = ["--instances=3", "--leases=200", "--ttl-s=3", "--subjects=berth"];
    let ended = Command::new(benches).arg("expiry").args(small).output().expect("it starts");
    let (told, errors) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{told}{errors}");
    let rows = told.lines().filter(|line| line.starts_with("| berth"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), 2, "{told}");
    let entries: usize = rows[1][4].parse().expect("a count");
    assert!((1..200).contains(&entries), "{told}");
}
