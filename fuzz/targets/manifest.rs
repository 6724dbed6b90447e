//! Owns libFuzzer's way to `hostile::manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::manifest::run, bytes));
