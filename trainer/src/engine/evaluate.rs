//! Owns running a model over a split without training it.

use anyhow::Result;
use candle_core::{Device, Tensor};
use shared::config::Task;
use shared::head::means::{ClassMeans, Measure};
use shared::model::{CaseOutput, Model};
use shared::nn::Tensors;
use shared::{Case, Modality, rng};

use super::dataset::{self, Dataset};
use super::group::Group;
use super::source::{Sample, Split as Placed};
use crate::data::split::Split;
use crate::metrics::evaluation::{Evaluation, Measured};
use crate::metrics::{Predictions, threshold};
use crate::settings::Settings;

/// The predictions for a split, in its order.
///
/// # Errors
/// If a post cannot be read.
pub fn predict(model: &Model, split: &Placed<'_>, batch_size: usize) -> Result<Predictions> {
    predict_together(&Group::alone(), model, split, batch_size)
}

/// As [`predict`], each process on its part of the posts; all get the predictions for all of them.
///
/// # Errors
/// If a post cannot be read, or another process is gone.
pub fn predict_together(
    group: &Group,
    model: &Model,
    split: &Placed<'_>,
    batch_size: usize,
) -> Result<Predictions> {
    let mut own = Predictions::default();
    let places: Vec<usize> = (0..split.posts.len()).collect();
    for_each_batch(split, group.share().of(&places), batch_size, |sample| {
        let outputs = sample.batch.forward(model)?;
        append(&mut own, &logits(model, &outputs)?, &sample)
    })?;
    if group.size() == 1 {
        return Ok(own);
    }
    // Everyone puts its own rows among zeros.
    let classes = model.config().classes.len();
    let mut rows = vec![0f32; places.len() * classes];
    let from = group.share().range(places.len()).start * classes;
    let flat = own.logits().iter().flatten().copied();
    rows[from..]
        .iter_mut()
        .zip(flat)
        .for_each(|(row, own)| *row = own);
    let count = rows.len();
    let rows = Tensor::from_vec(rows, count, model.device())?;
    let rows = group.sum(&rows)?.to_vec1::<f32>()?;
    let mut all = Predictions::default();
    for (&(post, case), logits) in split.posts.iter().zip(rows.chunks(classes)) {
        all.push(case, logits.to_vec(), split.source.classes(post).to_vec());
    }
    Ok(all)
}

/// The predictions for a split: every post in each case it can appear in, and in the mix that `[missing]` simulates.
///
/// # Errors
/// If the data set has no such split, or a post cannot be read.
pub fn measured(
    model: &Model,
    data: &Dataset,
    split: Split,
    settings: &Settings,
) -> Result<Measured> {
    let (size, source) = (settings.train.batch_size, data.source(split)?);
    let of_case = |case| {
        let posts = Placed::all_in_case(source, case);
        Ok((case, predict(model, &posts, size)?))
    };
    Ok(Measured {
        by_case: Case::ALL.into_iter().map(of_case).collect::<Result<_>>()?,
        mixed: mixed(model, data, split, settings)?,
    })
}

fn mixed(model: &Model, data: &Dataset, split: Split, settings: &Settings) -> Result<Predictions> {
    let posts = data.simulated(split, &settings.missing, None)?;
    predict(model, &posts, settings.train.batch_size)
}

/// The figures of a split: every post in each case it can appear in, and the mix that `[missing]` simulates. If the
/// data has validation posts open, those of a multi-label task also with the threshold that is best for them.
///
/// # Errors
/// If the data set has no such split, or a post cannot be read.
pub fn by_case(
    model: &Model,
    data: &Dataset,
    split: Split,
    settings: &Settings,
) -> Result<Evaluation> {
    let measured = measured(model, data, split, settings)?;
    let (task, classes) = (settings.model.task, data.classes.len());
    let missing = dataset::describe(split, &settings.missing);
    let main = settings.selection().name();
    let evaluation = Evaluation::new(split.name(), missing, &measured, main, task, classes);
    if task != Task::MultiLabel || data.source(Split::Val).is_err() {
        return Ok(evaluation);
    }
    let threshold = match split {
        Split::Val => threshold::tuned(&measured.mixed, classes),
        _ => threshold::tuned(&mixed(model, data, Split::Val, settings)?, classes),
    };
    Ok(evaluation.at_threshold(threshold, &measured, classes))
}

/// Rows of a batch with their logits [n, K], case by case: still on the device, outside of every graph.
pub type Logits = Vec<(Vec<usize>, Tensor)>;

/// The logits of a batch; they carry no margin.
///
/// # Errors
/// If the tensor library fails.
pub fn logits(model: &Model, outputs: &[CaseOutput]) -> Result<Logits> {
    let each = outputs.iter().map(|output| {
        let logits = model.logits(output)?.detach();
        Ok((output.rows.clone(), logits))
    });
    each.collect()
}

/// Adds the predictions for one batch, in the batch's order; waits for the device.
///
/// # Errors
/// If logits and sample do not belong together.
pub fn append(all: &mut Predictions, logits: &Logits, sample: &Sample) -> Result<()> {
    let mut rows = vec![Vec::new(); sample.classes.len()];
    for (places, logits) in logits {
        for (&row, logits) in places.iter().zip(logits.to_vec2::<f32>()?) {
            rows[row] = logits;
        }
    }
    for ((case, logits), classes) in sample.batch.cases().iter().zip(rows).zip(&sample.classes) {
        all.push(*case, logits, classes.clone());
    }
    Ok(())
}

/// What a head has measured on the features of its training posts: one pass over the split.
///
/// # Errors
/// If a post cannot be read.
pub fn measure(
    model: &Model,
    wanted: &[(String, Measure)],
    split: &Placed<'_>,
    batch_size: usize,
    seed: u64,
    device: &Device,
) -> Result<Tensors> {
    let config = model.config();
    let mut means = ClassMeans::new(config.clip.projection_dim, config.classes.len());
    let places: Vec<usize> = (0..split.posts.len()).collect();
    for_each_batch(split, &places, batch_size, |sample| {
        for (rows, features) in sample.batch.features(model)? {
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
    Ok(means.measure(wanted, &mut rng::stream(seed, "class means"), device)?)
}

/// Calls back with these places of the split in batches, in order.
fn for_each_batch(
    split: &Placed<'_>,
    places: &[usize],
    batch_size: usize,
    mut each: impl FnMut(Sample) -> Result<()>,
) -> Result<()> {
    places
        .chunks(batch_size.max(1))
        .try_for_each(|places| each(split.sample(places)?))
}
