//! Owns tiny bundles, the same whenever they are made, and the sealing of changed ones: sizes and checksums that fit.

use anyhow::{Context, Result};
use candle_core::Device;
use serde_json::Value;
use shared::bundle::{self, About, Contents, Dtype, MANIFEST, sha256};
use shared::config::{
    ClipConfig, DcpConfig, DplConfig, DplPlusConfig, HeadConfig, ModelConfig, PromptConfig, Task,
};
use shared::head::Background;
use shared::infer::weights::Weights;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;
use shared::rng::stream;
use shared::{clip, model};

use crate::tiny::vocabulary;

/// Side of the pictures.
const SIDE: usize = 8;
/// Tokens of a text.
const CONTEXT: usize = 8;
/// Stands in for a checksum while it is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A bundle's files with their names, the manifest first.
pub type Files = Vec<(String, Vec<u8>)>;

/// Tiny bundles of every way to store weights, and of different prompts and heads.
///
/// # Errors
/// If they cannot be made.
pub fn tiny() -> Result<Vec<Files>> {
    let dcp = PromptConfig::Dcp(DcpConfig {
        length: 3,
        depth: 2,
        reduction: 4,
        train_queries: false,
    });
    let dpl = HeadConfig::Dpl(DplConfig::default());
    let plus = HeadConfig::DplPlus(DplPlusConfig::default());
    Ok(vec![
        encoded(dcp.clone(), dpl, Task::MultiClass, Dtype::F32)?,
        encoded(dcp, plus, Task::MultiLabel, Dtype::F16)?,
        encoded(
            PromptConfig::None,
            HeadConfig::Linear,
            Task::MultiClass,
            Dtype::Int8,
        )?,
    ])
}

fn encoded(prompt: PromptConfig, head: HeadConfig, task: Task, dtype: Dtype) -> Result<Files> {
    let vocabulary = vocabulary();
    let mut clip = ClipConfig {
        projection_dim: 4,
        ..ClipConfig::default()
    };
    let vision = &mut clip.vision_config;
    (vision.hidden_size, vision.intermediate_size) = (4, 8);
    (vision.num_hidden_layers, vision.num_attention_heads) = (2, 2);
    (vision.image_size, vision.patch_size) = (SIDE, 4);
    let text = &mut clip.text_config;
    (text.hidden_size, text.intermediate_size) = (4, 8);
    (text.num_hidden_layers, text.num_attention_heads) = (2, 2);
    (text.vocab_size, text.max_position_embeddings) = (vocabulary.len(), CONTEXT);
    let config = ModelConfig {
        clip,
        prompt,
        head,
        task,
        classes: ["fruit", "animal", "vehicle"].map(String::from).to_vec(),
    };
    let mut tensors = clip::initialise(&config.clip, &mut stream(3, "hostile"), &Device::Cpu)?;
    tensors.append(&mut model::initialise(&config, 3, &Device::Cpu)?);
    let vocabulary = serde_json::to_string(&vocabulary)?;
    let tokenizer = TextTokenizer::from_vocab_and_merges(&vocabulary, "#version: 0.2\n", CONTEXT)?;
    let means = |value: f32| vec![value; config.clip.projection_dim];
    let background = Background {
        means: [0.1, 0.2, 0.3, 0.4].map(means),
        offsets: [0.5; 3],
    };
    let mut files = bundle::encode(Contents {
        config: &config,
        tensors: &tensors,
        rounded: &Weights::default(),
        images: &ImagePreprocessor::new(SIDE, None),
        tokenizer: &tokenizer,
        dtype,
        about: About::default(),
        calibration: None,
        background: Some(background),
    })?;
    // The model card, which nobody reads.
    files.pop();
    Ok(files)
}

/// Writes into the manifest what its files are now, and its own checksum, if it is JSON at all.
pub fn seal(files: &mut Files) {
    let Some(((name, manifest), others)) = files.split_first_mut() else {
        return;
    };
    if name != MANIFEST {
        return;
    }
    if let Ok(sealed) = sealed(manifest, others) {
        *manifest = sealed;
    }
}

fn sealed(manifest: &[u8], files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(manifest)?;
    let entries = value.get_mut("files").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        let named = |(name, _): &&(String, Vec<u8>)| entry["name"] == name.as_str();
        let Some((_, bytes)) = files.iter().find(named) else {
            continue;
        };
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("bytes".into(), bytes.len().into());
            entry.insert("sha256".into(), sha256(bytes).into());
        }
    }
    let fields = value.as_object_mut().context("no object")?;
    fields.insert("checksum".into(), BLANK.into());
    let json = serde_json::to_string(&value)?;
    Ok(json
        .replacen(BLANK, &sha256(json.as_bytes()), 1)
        .into_bytes())
}

/// A manifest alone, sealed.
pub fn seal_manifest(manifest: &[u8]) -> Vec<u8> {
    sealed(manifest, &[]).unwrap_or_else(|_| manifest.to_vec())
}
