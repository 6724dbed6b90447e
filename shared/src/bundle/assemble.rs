//! Owns the way back: from a manifest and its files, in any order, to a classifier.

use std::collections::BTreeMap;

use candle_core::Device;

use super::shard::Pieces;
use super::{FileEntry, FileRole, MANIFEST, Manifest, error, sha256};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::nn::var_builder;
use crate::predict::Classifier;
use crate::preprocess::image::ImagePreprocessor;
use crate::preprocess::text::TextTokenizer;

/// Takes a bundle's files one by one, so that none of them need be kept.
pub struct Assembler {
    manifest: Manifest,
    /// Files still to come, by name.
    awaited: BTreeMap<String, FileEntry>,
    pieces: Pieces,
    tokenizer: Option<TextTokenizer>,
}

impl Assembler {
    /// Awaits the files of a manifest.
    pub fn new(manifest: Manifest) -> Self {
        let awaited = manifest
            .files
            .iter()
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        Self {
            manifest,
            awaited,
            pieces: Pieces::default(),
            tokenizer: None,
        }
    }

    /// What the bundle is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Takes one file. After an error it is still awaited, so that it can be fetched again.
    ///
    /// # Errors
    /// If the manifest lists no such file or it was given before, or its size, checksum or content is wrong.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let Some(entry) = self.awaited.get(name) else {
            return Err(error(
                name,
                "is not awaited: unknown to the manifest, or given before",
            ));
        };
        if bytes.len() as u64 != entry.bytes {
            let (found, expected) = (bytes.len(), entry.bytes);
            return Err(error(
                name,
                format!(
                    "has {found} bytes instead of {expected}; it is incomplete or of another bundle, get it again"
                ),
            ));
        }
        if sha256(bytes) != entry.sha256 {
            return Err(error(
                name,
                "is damaged: its checksum is not the manifest's; get it again",
            ));
        }
        match entry.role {
            FileRole::Tokenizer => {
                let context = self
                    .manifest
                    .config
                    .clip
                    .text_config
                    .max_position_embeddings;
                self.tokenizer = Some(TextTokenizer::from_json(harmless(name, bytes)?, context)?);
            }
            FileRole::ImageTower | FileRole::TextTower | FileRole::PromptsAndHead => {
                self.pieces.read(name, bytes)?;
            }
        }
        self.awaited.remove(name);
        Ok(())
    }

    /// The classifier on the CPU, once all files are there.
    ///
    /// # Errors
    /// If a file is still awaited, or the files do not make the model that the manifest describes.
    pub fn finish(self) -> Result<Classifier> {
        self.finish_on(&Device::Cpu)
    }

    /// The classifier on a device, once all files are there.
    ///
    /// # Errors
    /// As [`Assembler::finish`], or if the device refuses.
    pub fn finish_on(self, device: &Device) -> Result<Classifier> {
        if let Some(name) = self.awaited.keys().next() {
            let count = self.awaited.len();
            return Err(error(
                name,
                format!("has not been given; {count} files are still awaited"),
            ));
        }
        let Some(tokenizer) = self.tokenizer else {
            return Err(error(MANIFEST, "lists no tokenizer"));
        };
        let config = &self.manifest.config;
        let model = Model::load_folded(config, var_builder(&self.pieces.join()?, device))?;
        let images = ImagePreprocessor::from_json(&self.manifest.preprocessor.to_string())?;
        Classifier::new(model, images, tokenizer, device.clone())
    }
}

/// A tokenizer.json that the library can be given: it takes some malformed parts for impossible and panics on them, so
/// they are refused here. The way back from tokens to text is left out, as nothing needs it.
fn harmless(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let malformed = |e: serde_json::Error| error(name, format!("is no tokenizer.json ({e})"));
    let mut json: serde_json::Value = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(parts) = json.as_object_mut() {
        parts.insert("decoder".into(), serde_json::Value::Null);
    }
    if mentions(&json["normalizer"], "Precompiled") {
        return Err(error(
            name,
            "has a precompiled normalizer, which no CLIP has",
        ));
    }
    serde_json::to_vec(&json).map_err(malformed)
}

fn mentions(json: &serde_json::Value, word: &str) -> bool {
    match json {
        serde_json::Value::String(text) => text == word,
        serde_json::Value::Array(items) => items.iter().any(|item| mentions(item, word)),
        serde_json::Value::Object(fields) => fields.values().any(|item| mentions(item, word)),
        _ => false,
    }
}

/// Reads a whole bundle: `file` gives the bytes of a file by its name.
///
/// # Errors
/// The caller's own if a file cannot be read, else as [`Manifest::parse`], [`Assembler::add`] and
/// [`Assembler::finish`].
pub fn read<E: From<Error>>(
    mut file: impl FnMut(&str) -> Result<Vec<u8>, E>,
    device: &Device,
) -> Result<(Manifest, Classifier), E> {
    let manifest = Manifest::parse(&file(MANIFEST)?)?;
    let mut assembler = Assembler::new(manifest.clone());
    for entry in &manifest.files {
        assembler.add(&entry.name, &file(&entry.name)?)?;
    }
    Ok((manifest, assembler.finish_on(device)?))
}
