//! Owns libFuzzer's way to `hostile::clip_folder`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::within(tests::hostile::clip_folder::run, bytes));
