//! Owns libFuzzer's way to `hostile::tokenizer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::tokenizer::run, bytes));
