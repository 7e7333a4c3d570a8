#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sched::agent::images::archive_arbitrary(data));
