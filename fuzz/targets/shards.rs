//! Owns libFuzzer's way to `hostile::shards`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::shards::run, bytes));
