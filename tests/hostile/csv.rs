//! Owns what is tried of `data.csv`.

use trainer::settings::Format;

use super::jsonl::posts;

/// Reads the posts of a file.
pub fn run(bytes: &[u8]) {
    posts("data.csv", Format::Csv, bytes);
}
