//! Any bytes as a file. Behind the first checksum it gets only with the seeds.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inotify_trace_fuzz::replay(bytes));
