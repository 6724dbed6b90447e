//! Owns what is tried of every reader of strangers' files: one function a reader, that takes any bytes and must come back,
//! with an answer or with an error. libFuzzer calls them (`fuzz/`), and the test `corpora` with what it has found.
//!
//! A function panics where an answer is not what it should be; whatever else panics in it is a fault of the reader.

pub mod bundle;
pub mod clip_folder;
pub mod csv;
pub mod edits;
pub mod folder;
pub mod image;
pub mod jsonl;
pub mod layouts;
pub mod lessons;
pub mod manifest;
pub mod parquet;
pub mod seeds;
pub mod settings;
pub mod shards;
pub mod table;
pub mod text;
pub mod tokenizer;
pub mod zip;

/// What is tried of one reader.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their corpora.
pub const TARGETS: [Target; 14] = [
    ("clip_folder", clip_folder::run),
    ("csv", csv::run),
    ("image", image::run),
    ("jsonl", jsonl::run),
    ("layouts", layouts::run),
    ("lessons", lessons::run),
    ("manifest", manifest::run),
    ("parquet", parquet::run),
    ("settings", settings::run),
    ("shards", shards::run),
    ("table", table::run),
    ("text", text::run),
    ("tokenizer", tokenizer::run),
    ("zip", zip::run),
];

/// The first byte, which chooses, and the rest.
fn choice(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) => (usize::from(*first), rest),
        None => (0, bytes),
    }
}
