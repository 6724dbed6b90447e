//! Owns opening what `[data]` and `[missing]` describe: the three splits, the classes, and each split's cases.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;
use shared::{Case, rng};

use super::source::{Source, Split as Placed};
use super::synthetic;
use crate::data::split::Split;
use crate::settings::{Format, MissingKind, MissingSettings, Settings};

/// Synthetic posts per split.
const SYNTHETIC: [usize; 3] = [96, 32, 32];

/// The splits of a data set.
pub struct Dataset {
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
    splits: BTreeMap<Split, Box<dyn Source>>,
}

impl Dataset {
    /// Opens the data of a run.
    ///
    /// # Errors
    /// If the data set cannot be read.
    pub fn open(
        settings: &Settings,
        images: &ImagePreprocessor,
        tokenizer: &TextTokenizer,
        device: &Device,
    ) -> Result<Self> {
        let limit = settings.data.limit.unwrap_or(usize::MAX);
        let mut splits: BTreeMap<Split, Box<dyn Source>> = BTreeMap::new();
        match settings.data.format {
            Format::Synthetic => {
                for (split, count) in Split::ALL.into_iter().zip(SYNTHETIC) {
                    let seed = settings.train.seed;
                    let source = synthetic::split(
                        split.name(),
                        count.min(limit),
                        seed,
                        images,
                        tokenizer,
                        device,
                    )?;
                    splits.insert(split, Box::new(source));
                }
                Ok(Self {
                    classes: synthetic::classes(),
                    splits,
                })
            }
            Format::Jsonl => bail!("data.format = \"jsonl\" is not read yet"),
        }
    }

    /// The posts of a split.
    ///
    /// # Errors
    /// If the data set has no such split.
    pub fn source(&self, split: Split) -> Result<&dyn Source> {
        let source = self.splits.get(&split).filter(|source| !source.is_empty());
        Ok(source
            .with_context(|| {
                format!(
                    "the data set has no posts for the split {split:?}",
                    split = split.name()
                )
            })?
            .as_ref())
    }

    /// A split with the cases that `[missing]` simulates.
    ///
    /// # Errors
    /// If the data set has no such split.
    pub fn simulated(&self, split: Split, missing: &MissingSettings) -> Result<Placed<'_>> {
        let source = self.source(split)?;
        let (kind, ratio) = simulation(split, missing);
        let mut order: Vec<usize> = (0..source.len()).collect();
        rng::shuffle(
            &mut rng::stream(missing.seed, &format!("missing {}", split.name())),
            &mut order,
        );
        let lost = (source.len() as f64 * ratio) as usize;
        let images = match kind {
            MissingKind::Both => (lost as f64 * missing.both_ratio) as usize,
            MissingKind::Image => lost,
            MissingKind::Text => 0,
        };
        let mut table = vec![Case::Complete; source.len()];
        for (i, &post) in order.iter().take(lost).enumerate() {
            table[post] = if i < images {
                Case::ImageMissing
            } else {
                Case::TextMissing
            };
        }
        Placed::with_table(source, &table)
    }
}

/// Kind and ratio of a split: the test split may have its own.
fn simulation(split: Split, missing: &MissingSettings) -> (MissingKind, f64) {
    match split {
        Split::Test => (
            missing.test_kind.unwrap_or(missing.kind),
            missing.test_ratio.unwrap_or(missing.ratio),
        ),
        Split::Train | Split::Val => (missing.kind, missing.ratio),
    }
}

/// The simulation of a split in words: `both 0.7, seed 0`.
pub fn describe(split: Split, missing: &MissingSettings) -> String {
    let (kind, ratio) = simulation(split, missing);
    let kind = match kind {
        MissingKind::Both => "both",
        MissingKind::Text => "text",
        MissingKind::Image => "image",
    };
    format!("{kind} {ratio}, seed {}", missing.seed)
}
