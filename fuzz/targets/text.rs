//! Owns libFuzzer's way to `hostile::text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::text::run, bytes));
