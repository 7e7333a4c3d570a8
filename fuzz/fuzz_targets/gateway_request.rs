#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth::gateway::request_arbitrary(data));
