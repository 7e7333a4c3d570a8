#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft::wal::recover_arbitrary(data));
