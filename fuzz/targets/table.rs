//! Owns libFuzzer's way to `hostile::table`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::table::run, bytes));
