#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft::peer::decode_arbitrary(data));
