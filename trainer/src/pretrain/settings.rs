//! Owns the settings of a pretraining run: everything that decides its result, and nothing else.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use shared::config::{ClipConfig, TextConfig, VisionConfig};

use super::augment::AugmentSettings;
use super::captions::CaptionSettings;
use crate::engine::adamw::AdamWSettings;

/// A pretraining run. Every field has a default, the recipe of the embedded CLIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainSettings {
    /// Seed of the start values, the order of the data, captions and augmentations.
    pub seed: u64,
    /// Optimiser steps; the learning rate reaches its floor at the last.
    pub steps: usize,
    /// Where the data lies.
    pub data: DataSettings,
    /// Sizes of both towers.
    pub model: TowerSettings,
    /// What one step sees.
    pub batch: BatchSettings,
    /// How captions are made of names and tags.
    pub captions: CaptionSettings,
    /// How drawings are varied.
    pub augment: AugmentSettings,
    /// The weights of the losses.
    pub loss: LossSettings,
    /// The optimiser and its learning rate.
    pub optimiser: OptimiserSettings,
    /// When to look at the validation split and when to save.
    pub every: Intervals,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            steps: 4500,
            data: DataSettings::default(),
            model: TowerSettings::default(),
            batch: BatchSettings::default(),
            captions: CaptionSettings::default(),
            augment: AugmentSettings::default(),
            loss: LossSettings::default(),
            optimiser: OptimiserSettings::default(),
            every: Intervals::default(),
        }
    }
}

impl PretrainSettings {
    /// Says which value is impossible, if one is.
    ///
    /// # Errors
    /// If a size is zero where it must not be, or the towers cannot be built.
    pub fn check(&self) -> Result<()> {
        self.model.clip_config().check()?;
        ensure!(self.steps > 0, "steps is 0; nothing would be trained");
        ensure!(
            self.batch.emoji + self.batch.clipart >= 2,
            "batch.emoji + batch.clipart is below 2; a contrast needs two drawings"
        );
        ensure!(
            (1..=2).contains(&self.batch.views),
            "batch.views is {}; it must be 1 or 2",
            self.batch.views
        );
        ensure!(
            self.batch.views == 2 || self.loss.image_image == 0.0,
            "loss.image_image needs two views of each drawing; set batch.views = 2"
        );
        ensure!(
            self.batch.tokens >= 3,
            "batch.tokens is {}; a caption takes at least 3",
            self.batch.tokens
        );
        ensure!(
            self.every.checkpoint > 0 && self.every.evaluation > 0,
            "every.checkpoint and every.evaluation count steps; they are at least 1"
        );
        Ok(())
    }
}

/// Where the data lies (made by `trainer data prepare`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Folder with `drawings.jsonl` and the pictures it names.
    pub drawings: PathBuf,
    /// The nouns of WordNet, one JSON object a line.
    pub wordnet: PathBuf,
    /// The demo task: a folder with `data.jsonl`. Its train and val posts are the probe during training;
    /// test is not read. Empty: no probe.
    pub probe: PathBuf,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            drawings: "data/drawings".into(),
            wordnet: "data/wordnet.jsonl".into(),
            probe: "data/emoji".into(),
        }
    }
}

/// Sizes of both towers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TowerSettings {
    /// Side of the picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Width of the image tower.
    pub image_width: usize,
    /// Blocks of the image tower.
    pub image_layers: usize,
    /// Attention heads of the image tower.
    pub image_heads: usize,
    /// Width of the text tower.
    pub text_width: usize,
    /// Blocks of the text tower.
    pub text_layers: usize,
    /// Attention heads of the text tower.
    pub text_heads: usize,
    /// Entries of the tokenizer.
    pub vocabulary: usize,
    /// Longest text in tokens.
    pub context: usize,
    /// Width of the joint space.
    pub joint: usize,
}

impl Default for TowerSettings {
    fn default() -> Self {
        Self {
            image_size: 48,
            patch_size: 8,
            image_width: 128,
            image_layers: 4,
            image_heads: 4,
            text_width: 128,
            text_layers: 3,
            text_heads: 4,
            vocabulary: 4096,
            context: 32,
            joint: 128,
        }
    }
}

impl TowerSettings {
    /// The same as a Hugging Face CLIP configuration.
    pub fn clip_config(&self) -> ClipConfig {
        ClipConfig {
            projection_dim: self.joint,
            vision_config: VisionConfig {
                hidden_size: self.image_width,
                intermediate_size: 4 * self.image_width,
                num_hidden_layers: self.image_layers,
                num_attention_heads: self.image_heads,
                image_size: self.image_size,
                patch_size: self.patch_size,
                ..VisionConfig::default()
            },
            text_config: TextConfig {
                hidden_size: self.text_width,
                intermediate_size: 4 * self.text_width,
                num_hidden_layers: self.text_layers,
                num_attention_heads: self.text_heads,
                vocab_size: self.vocabulary,
                max_position_embeddings: self.context,
                ..TextConfig::default()
            },
            ..ClipConfig::default()
        }
    }
}

/// What one step sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSettings {
    /// Emoji concepts.
    pub emoji: usize,
    /// Clip-art drawings.
    pub clipart: usize,
    /// Pictures of each concept (two: of two styles where there are two). Both share the texts, so the second is cheap.
    pub views: usize,
    /// Pairs of WordNet.
    pub wordnet: usize,
    /// Captions are cut to this many tokens, which keeps the text tower's share of a step small.
    pub tokens: usize,
    /// Every so many steps captions may fill the whole context, so that the later positions are trained too; 0 = never.
    pub long_every: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            emoji: 60,
            clipart: 36,
            views: 2,
            wordnet: 64,
            tokens: 14,
            long_every: 10,
        }
    }
}

/// The weights of the losses beside the contrast of picture and caption, which has weight 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSettings {
    /// Contrast of two captions of one concept.
    pub text_text: f64,
    /// Contrast of a noun with its hypernyms and gloss.
    pub wordnet: f64,
    /// Contrast of two pictures of one concept.
    pub image_image: f64,
    /// Cross entropy of a linear classifier of the picture's group (CLDR subgroup, clip-art folder), training concepts only.
    pub group: f64,
    /// The logit scale never exceeds this.
    pub largest_scale: f64,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self {
            text_text: 0.5,
            wordnet: 0.5,
            image_image: 0.0,
            group: 0.2,
            largest_scale: 60.0,
        }
    }
}

/// The optimiser: AdamW, linear warm-up, cosine to a floor. One-dimensional tensors, positions and the token table
/// are not decayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserSettings {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Steps until it is reached.
    pub warmup: usize,
    /// Where the cosine ends, as a share of the highest.
    pub floor: f64,
    /// Betas, weight decay and clipping.
    pub adamw: AdamWSettings,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            warmup: 150,
            floor: 0.01,
            adamw: AdamWSettings {
                weight_decay: 0.1,
                clip_norm: Some(1.0),
                ..AdamWSettings::default()
            },
        }
    }
}

/// Steps between two of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Intervals {
    /// Checkpoints.
    pub checkpoint: usize,
    /// Evaluations on the validation split.
    pub evaluation: usize,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            checkpoint: 100,
            evaluation: 500,
        }
    }
}
