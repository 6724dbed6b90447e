//! Owns the way back: from a manifest and its files, in any order, to a classifier.

use std::collections::BTreeMap;

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::shard::Pieces;
use super::{FileEntry, FileRole, MANIFEST, Manifest, error, hexadecimal};
use crate::case::Modality;
use crate::error::{Error, Result};
use crate::infer::Engine;
use crate::model::Model;
use crate::nn::var_builder;
use crate::predict::{Classifier, OnDevice};
use crate::preprocess::image::ImagePreprocessor;
use crate::preprocess::text::TextTokenizer;

/// Takes a bundle's files one by one, so that none of them need be kept.
pub struct Assembler {
    manifest: Manifest,
    modalities: Vec<Modality>,
    /// Files still to come, by name.
    awaited: BTreeMap<String, FileEntry>,
    pieces: Pieces,
    tokenizer: Option<TextTokenizer>,
}

impl Assembler {
    /// Awaits the files of a manifest.
    pub fn new(manifest: Manifest) -> Self {
        Self::of_modalities(manifest, &Modality::ALL)
    }

    /// Awaits the files of a manifest without the towers of other modalities: of a classifier that is to see only
    /// images, the text tower need not be fetched.
    pub fn of_modalities(manifest: Manifest, modalities: &[Modality]) -> Self {
        let wanted = manifest.files.iter().filter(|file| match file.role {
            FileRole::ImageTower => modalities.contains(&Modality::Image),
            FileRole::TextTower => modalities.contains(&Modality::Text),
            FileRole::Tokenizer | FileRole::PromptsAndHead => true,
        });
        let awaited = wanted
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        Self {
            manifest,
            modalities: modalities.to_vec(),
            awaited,
            pieces: Pieces::default(),
            tokenizer: None,
        }
    }

    /// What the bundle is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files still to come, in the order in which they are best fetched.
    pub fn awaited(&self) -> Vec<FileEntry> {
        let files = self.manifest.files.iter();
        files
            .filter(|file| self.awaited.contains_key(&file.name))
            .cloned()
            .collect()
    }

    /// Takes one file. After an error it is still awaited, so that it can be fetched again.
    ///
    /// # Errors
    /// If the manifest lists no such file or it was given before, or its size, checksum or content is wrong.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add_hashed(name, bytes, Sha256::digest(bytes).into())
    }

    /// As [`Assembler::add`], for who has a quicker SHA-256: `digest` is that of `bytes`, as the caller computed it. It
    /// is compared with the manifest's here.
    ///
    /// # Errors
    /// As [`Assembler::add`].
    pub fn add_hashed(&mut self, name: &str, bytes: &[u8], digest: [u8; 32]) -> Result<()> {
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
        if hexadecimal(&digest) != entry.sha256 {
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
                self.tokenizer = Some(TextTokenizer::from_json(bytes, context)?);
            }
            FileRole::ImageTower | FileRole::TextTower | FileRole::PromptsAndHead => {
                self.pieces.read(name, bytes)?;
            }
        }
        self.awaited.remove(name);
        Ok(())
    }

    /// The classifier on packed weights, once all files are there.
    ///
    /// # Errors
    /// If a file is still awaited, or the files do not make the model that the manifest describes.
    pub fn finish(self) -> Result<Classifier> {
        let (manifest, modalities, pieces, tokenizer) = self.complete()?;
        let engine = Engine::load(&manifest.config, &modalities, pieces.join()?)?;
        let images = ImagePreprocessor::from_json(&manifest.preprocessor.to_string())?;
        Ok(Classifier::new(engine, images, tokenizer)?.of_bundle(&manifest))
    }

    /// The classifier as tensors on a device, once all files are there; both towers are needed.
    ///
    /// # Errors
    /// As [`Assembler::finish`], or if the device refuses.
    pub fn finish_on(self, device: &Device) -> Result<Classifier> {
        let (manifest, _, pieces, tokenizer) = self.complete()?;
        let tensors = pieces.join()?.take_tensors(&[""])?;
        let model = Model::load_folded(&manifest.config, var_builder(&tensors, device))?;
        let images = ImagePreprocessor::from_json(&manifest.preprocessor.to_string())?;
        let device = device.clone();
        Ok(Classifier::new(OnDevice { model, device }, images, tokenizer)?.of_bundle(&manifest))
    }

    fn complete(self) -> Result<(Manifest, Vec<Modality>, Pieces, TextTokenizer)> {
        if let Some(name) = self.awaited.keys().next() {
            let count = self.awaited.len();
            return Err(error(
                name,
                format!("has not been given; {count} files are still awaited"),
            ));
        }
        match self.tokenizer {
            Some(tokenizer) => Ok((self.manifest, self.modalities, self.pieces, tokenizer)),
            None => Err(error(MANIFEST, "lists no tokenizer")),
        }
    }
}

/// Reads a whole bundle: `file` gives the bytes of a file by its name. On the CPU the weights are packed.
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
    let classifier = if device.is_cpu() {
        assembler.finish()?
    } else {
        assembler.finish_on(device)?
    };
    Ok((manifest, classifier))
}
