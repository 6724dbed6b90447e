//! Owns libFuzzer's way to `hostile::layouts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::layouts::run, bytes));
