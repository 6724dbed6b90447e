//! Owns libFuzzer's way to `hostile::image`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::image::run, bytes));
