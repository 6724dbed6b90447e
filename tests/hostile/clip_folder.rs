//! Owns what is tried of CLIPs in folders: however the files of one are changed, it is a CLIP or an error.

use std::sync::OnceLock;

use anyhow::Result;
use candle_core::Device;
use shared::clip::Clip;
use shared::nn::var_builder;
use trainer::clip_folder;

use super::bundle::Files;
use super::edits::Edits;
use super::folder;
use crate::tiny;

/// In the order in which edits name them.
const NAMES: [&str; 5] = [
    "config.json",
    "merges.txt",
    "model.safetensors",
    "preprocessor_config.json",
    "vocab.json",
];

/// Changes the files of a tiny CLIP as the bytes say, and loads it.
pub fn run(bytes: &[u8]) {
    static FILES: OnceLock<Files> = OnceLock::new();
    let mut files = FILES.get_or_init(|| made().unwrap_or_default()).clone();
    assert!(!files.is_empty(), "the tiny CLIP cannot be made");
    Edits::of(bytes).apply(&mut files);
    let all: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let loaded = folder::with(&all, |dir| clip_folder::load(dir, &Device::Cpu));
    if let Ok(Ok(loaded)) = loaded {
        let _ = loaded.tokenizer.encode("a cat, two dogs");
        let _ = Clip::load(&loaded.config, var_builder(&loaded.tensors, &Device::Cpu));
    }
}

fn made() -> Result<Files> {
    let folder = tempfile::tempdir()?;
    tiny::clip_folder(folder.path())?;
    let read = |name: &str| Ok((name.to_owned(), std::fs::read(folder.path().join(name))?));
    NAMES.into_iter().map(read).collect()
}
