#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sched::discovery::dns::question_arbitrary(data));
