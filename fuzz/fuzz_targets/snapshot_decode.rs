#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::snapshot::codec::fuzz::decode_arbitrary(data));
