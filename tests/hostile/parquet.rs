//! Owns what is tried of `data.parquet`.

use trainer::settings::Format;

use super::jsonl::posts;

/// Reads the posts of a file. The trainer catches what panics in the library; libFuzzer must let it (`fuzz/src/lib.rs`).
pub fn run(bytes: &[u8]) {
    posts("data.parquet", Format::Parquet, bytes);
}
