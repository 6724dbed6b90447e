//! Owns what is tried of the published data sets' own files, which are JSON and CSV.

use trainer::data::format;
use trainer::settings::{DataSettings, Format};

use super::{choice, folder};

/// Divides one file from the next.
const BETWEEN: u8 = 0;

/// Reads a data set of the layout that the first byte chooses; its files are divided by zeros.
pub fn run(bytes: &[u8]) {
    let (which, rest) = choice(bytes);
    let (format, names): (_, &[&str]) = match which % 3 {
        0 => (Format::MmImdb, &["split.json", "labels/1.json"]),
        1 => (
            Format::Food101,
            &["class_idx.json", "split.json", "text.json"],
        ),
        _ => (
            Format::HatefulMemes,
            &["train.jsonl", "dev.jsonl", "test_seen.jsonl"],
        ),
    };
    let mut parts = rest.split(|byte| *byte == BETWEEN);
    let mut files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (*name, parts.next().unwrap_or_default()))
        .collect();
    if format == Format::Food101 && which >= 128 {
        // The older form of the same titles.
        files[2].0 = "texts/test_titles.csv";
    }
    let settings = DataSettings {
        format,
        ..DataSettings::default()
    };
    let _ = folder::with(&files, |dir| format::read(dir, &settings));
}
