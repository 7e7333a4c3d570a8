#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sched::apiserver::frames_arbitrary(data));
