//! Owns what a pretraining run leaves: a Hugging Face CLIP folder, and the record of how it was made.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use serde::Serialize;
use serde_json::json;
use shared::config::ClipConfig;
use shared::nn::Tensors;
use shared::preprocess::image::{MEAN, STD};

use super::settings::PretrainSettings;
use crate::engine::atomic;

/// How a folder's CLIP was made: `pretraining.json`.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Steps done of those in the settings.
    pub step: usize,
    /// Seconds spent on steps, resumed runs added up.
    pub seconds: f64,
    /// Parameters of both towers.
    pub parameters: usize,
    /// Concepts and drawings trained on.
    pub emoji_concepts: usize,
    /// Clip-art concepts trained on.
    pub clipart_concepts: usize,
    /// Drawings in all styles.
    pub drawings: usize,
    /// The last figures on the validation split.
    pub validation: &'a crate::report::Values,
    /// The resolved settings.
    pub settings: &'a PretrainSettings,
}

/// Writes what does not change during training: `config.json`, `tokenizer.json`, `preprocessor_config.json`.
///
/// # Errors
/// If a file cannot be written.
pub fn write_description(dir: &Path, config: &ClipConfig, tokenizer_json: &str) -> Result<()> {
    atomic::write(
        &dir.join("config.json"),
        pretty(&config_json(config)?)?.as_bytes(),
    )?;
    atomic::write(&dir.join("tokenizer.json"), tokenizer_json.as_bytes())?;
    atomic::write(
        &dir.join("preprocessor_config.json"),
        preprocessor_json(config.vision_config.image_size)?.as_bytes(),
    )
}

/// Writes `model.safetensors` (half precision) and `pretraining.json`.
///
/// # Errors
/// If a file cannot be written.
pub fn write_weights(dir: &Path, tensors: &Tensors, record: &Record<'_>) -> Result<()> {
    let half: Tensors = tensors
        .iter()
        .map(|(name, tensor)| {
            Ok((
                name.clone(),
                tensor
                    .to_device(&Device::Cpu)?
                    .to_dtype(DType::F16)?
                    .contiguous()?,
            ))
        })
        .collect::<Result<_>>()?;
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(half.iter(), Some(metadata))
        .context("the weights cannot be serialised")?;
    atomic::write(&dir.join("model.safetensors"), &bytes)?;
    atomic::write(
        &dir.join("pretraining.json"),
        pretty(&serde_json::to_value(record)?)?.as_bytes(),
    )
}

/// `config.json` with what Hugging Face needs beside our own fields: it finds the end of a text by its id.
fn config_json(config: &ClipConfig) -> Result<serde_json::Value> {
    let mut json = serde_json::to_value(config)?;
    let end = config.text_config.vocab_size - 1;
    let more = [
        ("", "architectures", json!(["CLIPModel"])),
        ("", "logit_scale_init_value", json!((1.0f64 / 0.07).ln())),
        ("text_config", "model_type", json!("clip_text_model")),
        (
            "text_config",
            "projection_dim",
            json!(config.projection_dim),
        ),
        ("text_config", "bos_token_id", json!(end - 1)),
        ("text_config", "eos_token_id", json!(end)),
        ("text_config", "pad_token_id", json!(0)),
        ("vision_config", "model_type", json!("clip_vision_model")),
        (
            "vision_config",
            "projection_dim",
            json!(config.projection_dim),
        ),
    ];
    for (section, key, value) in more {
        let target = if section.is_empty() {
            &mut json
        } else {
            &mut json[section]
        };
        target[key] = value;
    }
    Ok(json)
}

/// `preprocessor_config.json`: CLIP's, with `background`, our extension: transparency shows white.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn preprocessor_json(side: usize) -> Result<String> {
    let clean = |values: [f32; 3]| {
        values.map(|value| value.to_string().parse::<f64>().unwrap_or(f64::from(value)))
    };
    pretty(&json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "background": [255, 255, 255],
        "do_resize": true,
        "size": { "shortest_edge": side },
        "resample": 3,
        "do_center_crop": true,
        "crop_size": { "height": side, "width": side },
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": clean(MEAN),
        "image_std": clean(STD),
    }))
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_reader_reads_the_configuration_back() {
        let mut config = PretrainSettings::default().model.clip_config();
        config.text_config.vocab_size = 600;
        let json = config_json(&config).unwrap();
        assert_eq!(json["text_config"]["eos_token_id"], 599);
        assert_eq!(ClipConfig::from_json(&json.to_string()).unwrap(), config);
    }
}
