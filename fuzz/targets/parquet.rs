//! Owns libFuzzer's way to `hostile::parquet`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::let_catch(),
    |bytes: &[u8]| fuzz::within(tests::hostile::parquet::run, bytes)
);
