//! Owns running a model over a split without training it.

use anyhow::Result;
use candle_core::Device;
use shared::config::ModelConfig;
use shared::head::means::ClassMeans;
use shared::model::{CaseOutput, Model};
use shared::nn::Tensors;
use shared::{Modality, rng};

use super::source::{Sample, Split};
use crate::metrics::Predictions;

/// The predictions for a split, in its order.
///
/// # Errors
/// If a post cannot be read.
pub fn predict(model: &Model, split: &Split<'_>, batch_size: usize) -> Result<Predictions> {
    let mut all = Predictions::default();
    for_each_batch(split, batch_size, |sample| {
        let outputs = model.forward(&sample.batch)?;
        append(&mut all, model, &outputs, &sample)
    })?;
    Ok(all)
}

/// Adds the predictions for one batch, in the batch's order; the logits carry no margin.
///
/// # Errors
/// If outputs and sample do not belong together.
pub fn append(
    all: &mut Predictions,
    model: &Model,
    outputs: &[CaseOutput],
    sample: &Sample,
) -> Result<()> {
    let mut rows = vec![Vec::new(); sample.classes.len()];
    for output in outputs {
        let logits = model.logits(output)?.to_vec2::<f32>()?;
        for (&row, logits) in output.rows.iter().zip(logits) {
            rows[row] = logits;
        }
    }
    for ((case, logits), classes) in sample.batch.cases.iter().zip(rows).zip(&sample.classes) {
        all.push(*case, logits, classes.clone());
    }
    Ok(())
}

/// Prototypes at the mean features of their classes: one pass over the split.
///
/// # Errors
/// If a post cannot be read.
pub fn class_means(
    model: &Model,
    config: &ModelConfig,
    split: &Split<'_>,
    batch_size: usize,
    seed: u64,
    device: &Device,
) -> Result<Tensors> {
    let mut means = ClassMeans::new(config.clip.projection_dim, config.classes.len());
    for_each_batch(split, batch_size, |sample| {
        for (rows, features) in model.features(&sample.batch)? {
            let classes: Vec<Vec<usize>> = rows
                .iter()
                .map(|&row| sample.classes[row].clone())
                .collect();
            for modality in Modality::ALL {
                if let Some(features) = features.get(modality) {
                    means.add(modality, &features.detach(), &classes)?;
                }
            }
        }
        Ok(())
    })?;
    Ok(means.prototypes(&mut rng::stream(seed, "class means"), device)?)
}

/// Calls back with the split's batches, posts of one case side by side: fewer, larger products.
fn for_each_batch(
    split: &Split<'_>,
    batch_size: usize,
    mut each: impl FnMut(Sample) -> Result<()>,
) -> Result<()> {
    let places: Vec<usize> = (0..split.posts.len()).collect();
    places
        .chunks(batch_size.max(1))
        .try_for_each(|places| each(split.sample(places)?))
}
