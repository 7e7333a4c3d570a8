//! The corpus of the fuzzer passes wherever the tests run.

/// Recovery answers or refuses for every log in the corpus, without a panic.
#[test]
fn wal_recovery() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/wal_recovery");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        raft::wal::recover_arbitrary(&std::fs::read(file.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "the corpus is empty");
}
