//! Owns libFuzzer's way to `hostile::lessons`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::lessons::run, bytes));
