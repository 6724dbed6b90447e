//! Owns libFuzzer's way to `hostile::settings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::settings::run, bytes));
