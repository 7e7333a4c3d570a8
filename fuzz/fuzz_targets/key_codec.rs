#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::fuzz::decode_arbitrary(data));
