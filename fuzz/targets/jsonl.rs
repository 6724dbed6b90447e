//! Owns libFuzzer's way to `hostile::jsonl`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::jsonl::run, bytes));
