//! Owns libFuzzer's way to `hostile::csv`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::csv::run, bytes));
