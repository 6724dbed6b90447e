//! Owns the way out: from a trained model to the files of a bundle, folded, the same bytes for the same model.

use candle_core::Device;

use super::manifest::FORMAT;
use super::quantize::quantize;
use super::{
    About, CARD, Calibration, Dtype, FileEntry, FileRole, MANIFEST, Manifest, TOKENIZER, card,
    error, shard,
};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::head::Background;
use crate::infer::weights::Weights;
use crate::model::Model;
use crate::nn::{Tensors, var_builder};
use crate::preprocess::image::ImagePreprocessor;
use crate::preprocess::text::TextTokenizer;

/// What goes into a bundle.
pub struct Contents<'a> {
    /// The model.
    pub config: &'a ModelConfig,
    /// Its tensors as trained: CLIP's under Hugging Face names, `prompt.*` and `head.*`. Others are left out.
    pub tensors: &'a Tensors,
    /// Weights that were rounded beforehand, in place of the tensors of their names; with [`Dtype::Int8`] the other
    /// matrices of the towers are rounded to the nearest. None, or those of [`super::quantize::fed_back`].
    pub rounded: &'a Weights,
    /// How pictures become pixels.
    pub images: &'a ImagePreprocessor,
    /// How texts become tokens.
    pub tokenizer: &'a TextTokenizer,
    /// How weights are stored.
    pub dtype: Dtype,
    /// For people.
    pub about: About,
    /// How far the probabilities can be trusted, if it was measured.
    pub calibration: Option<Calibration>,
    /// What lets taught classes compete with trained ones, if it was measured.
    pub background: Option<Background>,
}

/// All files of the bundle with their names: the manifest first, the model card last.
///
/// # Errors
/// If the tensors do not make the model, or it is beyond the limits.
pub fn encode(contents: Contents<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let Contents {
        config,
        tensors,
        rounded,
        images,
        tokenizer,
        dtype,
        about,
        calibration,
        background,
    } = contents;
    let folded = Model::load(config, var_builder(tensors, &Device::Cpu))?.fold()?;
    let part = |prefixes: &[&str]| -> Tensors {
        let of = tensors.iter().filter(|(name, _)| {
            prefixes.iter().any(|prefix| name.starts_with(prefix))
                && !name.ends_with(".position_ids")
        });
        of.map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect()
    };
    let image = part(&["vision_model.", "visual_projection."]);
    let text = part(&["text_model.", "text_projection."]);

    let mut files = vec![(
        FileRole::Tokenizer,
        TOKENIZER.to_string(),
        tokenizer.to_json().into_bytes(),
    )];
    for (role, stem, tensors) in [
        (FileRole::PromptsAndHead, "head", &folded),
        (FileRole::ImageTower, "image", &image),
        (FileRole::TextTower, "text", &text),
    ] {
        let mut weights = Weights::from_tensors(tensors)?;
        for (name, weight) in &mut weights.0 {
            if let Some(rounded) = rounded.0.get(name) {
                weight.clone_from(rounded);
            }
        }
        if role == FileRole::PromptsAndHead {
            weights
                .0
                .extend(background.iter().flat_map(Background::weights));
        }
        if dtype == Dtype::Int8 {
            quantize(&mut weights);
        }
        let shards = shard::encode(stem, &weights, dtype)?;
        files.extend(shards.into_iter().map(|(name, bytes)| (role, name, bytes)));
    }
    let preprocessor = serde_json::from_str(&images.to_json()).map_err(|e| {
        error(
            MANIFEST,
            format!("the preprocessor's settings are no JSON ({e})"),
        )
    })?;
    let manifest = Manifest {
        format: FORMAT.into(),
        format_version: dtype.format_version(),
        checksum: String::new(),
        about,
        config: config.clone(),
        preprocessor,
        calibration,
        dtype,
        files: files
            .iter()
            .map(|(role, name, bytes)| FileEntry::of(name, *role, bytes))
            .collect(),
    };
    let mut bundle = vec![(MANIFEST.to_string(), manifest.to_json()?)];
    bundle.extend(files.into_iter().map(|(_, name, bytes)| (name, bytes)));
    bundle.push((CARD.into(), card::render(&manifest).into_bytes()));
    Ok(bundle)
}
