//! Owns libFuzzer's way to `hostile::zip`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::zip::run, bytes));
