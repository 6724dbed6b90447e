//! Owns the settings of the training loop.

use serde::{Deserialize, Serialize};

use crate::engine::adamw::AdamWSettings;
use crate::engine::precision::Precision;
use crate::engine::schedule::Decay;
use crate::metrics::Selection;

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Times each post is seen.
    pub epochs: usize,
    /// Posts per forward and backward pass.
    pub batch_size: usize,
    /// Passes per optimiser step; their losses are divided by this.
    pub accumulate: usize,
    /// The learning rate after the warm-up.
    pub rate: f64,
    /// Share of all steps in which the rate rises from 0.
    pub warmup: f64,
    /// The way down after it.
    pub decay: Decay,
    /// The end of a cosine as a share of the rate.
    pub floor: f64,
    /// The seed of initial values and of the order of posts.
    pub seed: u64,
    /// The first values of the prototypes.
    pub initialise: Initialise,
    /// Epochs between two looks at the validation split.
    pub validate_every: f64,
    /// Steps between two checkpoints `last`; one is also written after each validation.
    pub checkpoint_every: usize,
    /// Whether the frozen blocks keep only their inputs for the backward pass and compute the rest again: half as
    /// much time again, half of the memory. Results are the same bits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recompute: bool,
    /// What the frozen towers compute in: f32, tf32 (CUDA), bf16, f16 or f64. What is trained is f32 in all of them.
    #[serde(skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// The metric that decides on `best`; by default accuracy, or f1_macro for multi-label tasks.
    pub select: Option<Selection>,
    /// `[train.optimiser]`
    pub optimiser: AdamWSettings,
}

/// The start of the prototypes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initialise {
    /// Mean of the class's features minus the mean of all, from one pass over the training split.
    #[default]
    ClassMean,
    /// Independent normal values.
    Random,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 64,
            accumulate: 1,
            rate: 1e-2,
            warmup: 0.1,
            decay: Decay::Linear,
            floor: 0.0,
            seed: 0,
            initialise: Initialise::ClassMean,
            validate_every: 1.0,
            checkpoint_every: 50,
            recompute: false,
            precision: Precision::F32,
            select: None,
            optimiser: AdamWSettings::default(),
        }
    }
}
