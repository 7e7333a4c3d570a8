#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::against_model::compare_arbitrary(data));
