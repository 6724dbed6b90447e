//! Owns rounding a run's weights on its posts: what inputs they give the layers, and bytes whose errors cancel on these.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Device;
use rayon::prelude::*;
use shared::bundle::quantize::fed_back;
use shared::bundle::quantize::moments::Moments;
use shared::config::PromptConfig;
use shared::infer::Engine;
use shared::infer::observer::Observer;
use shared::infer::weights::Weights;
use shared::{Case, Modality};

use super::dataset;
use super::run::TrainedRun;
use crate::data::record::{self, Post};
use crate::data::split::Split;

/// Of the rows that one post gives a layer, at most so many are looked at: more say little new, and cost more than the
/// tower itself.
const ROWS: usize = 64;

/// Weights that were rounded on posts.
#[derive(Debug, Default)]
pub struct Calibrated {
    /// The towers' matrices in bytes, and their biases; those of a tower of which no post was seen are not there.
    pub weights: Weights,
    /// How many posts were seen with an image, and with a text.
    pub posts: [usize; 2],
}

/// Rounds with error feedback on at most `most` training posts, or validation posts if there are no others. Each is
/// seen complete and with either side missing, where the prompts make that a difference.
///
/// # Errors
/// If the posts or their pictures cannot be read, or the run's tensors make no model.
pub fn round(run: &TrainedRun, most: usize) -> Result<Calibrated> {
    let (data, _made) = dataset::read(&run.settings)?;
    let of = |split| record::of_split(&data.posts, split, Some(most));
    let posts = [Split::Train, Split::Val].into_iter().map(of);
    let posts = posts.into_iter().find(|posts| !posts.is_empty());
    let mut calibrated = Calibrated::default();
    // One tower after the other, so that there is memory for one.
    for modality in Modality::ALL {
        let (weights, seen) = tower(run, modality, posts.as_deref().unwrap_or_default())?;
        calibrated.weights.0.extend(weights.0);
        calibrated.posts[modality as usize] = seen;
    }
    Ok(calibrated)
}

/// The rounded weights of one tower, and how many posts it saw.
fn tower(run: &TrainedRun, modality: Modality, posts: &[Post]) -> Result<(Weights, usize)> {
    let prefixes = match modality {
        Modality::Image => ["vision_model.", "visual_projection."],
        Modality::Text => ["text_model.", "text_projection."],
    };
    let own = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut tensors = run.model(&Device::Cpu)?.fold()?;
    let towers = run.tensors.iter().filter(|(name, _)| own(name));
    tensors.extend(towers.map(|(name, tensor)| (name.clone(), tensor.clone())));
    let weights = Weights::from_tensors(&tensors)?;
    let engine = Engine::load(run.config(), &[modality], weights.clone())?;
    // Without prompts a tower does the same in every case.
    let alike = run.config().prompt == PromptConfig::None;
    let differs = |case: &Case| case.has(modality) && (!alike || *case == Case::Complete);
    let cases: Vec<Case> = Case::ALL.into_iter().filter(differs).collect();
    let mut inputs = Inputs::default();
    let mut seen = 0;
    for post in posts {
        let has = show(run, &engine, post, modality, &cases, &mut inputs);
        seen += usize::from(has.with_context(|| post.place())?);
    }
    Ok((inputs.round(&weights)?, seen))
}

/// Runs one side of a post through its tower, in these cases. False if the post does not have that side.
fn show(
    run: &TrainedRun,
    engine: &Engine,
    post: &Post,
    modality: Modality,
    cases: &[Case],
    inputs: &mut Inputs,
) -> Result<bool> {
    match (modality, &post.image, &post.text) {
        (Modality::Image, Some(picture), _) => {
            let pixels = run.clip.preprocessor.pixels(&picture.bytes()?)?;
            for &case in cases {
                engine.observed_image_features(case, &pixels, inputs)?;
            }
        }
        (Modality::Text, _, Some(text)) => {
            let mut encoded = run.clip.tokenizer.encode(text)?;
            // As a classifier pads them.
            let context = run.config().clip.text_config.max_position_embeddings;
            encoded.ids.resize(context, 0);
            for &case in cases {
                engine.observed_text_features(case, &encoded.ids, encoded.eot, inputs)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The inputs of all layers of a tower, by the first of the layers that share them.
#[derive(Default)]
struct Inputs(BTreeMap<String, Shared>);

/// Inputs that some layers have in common.
struct Shared {
    layers: Vec<String>,
    moments: Moments,
    /// How often they were seen.
    times: usize,
    /// What went wrong, if anything did.
    result: shared::Result<()>,
}

impl Observer for Inputs {
    fn see(&mut self, of: &str, layers: &[&str], rows: &[f32], width: usize) {
        let names = match layers {
            [] => vec![of.to_string()],
            layers => layers.iter().map(|layer| format!("{of}.{layer}")).collect(),
        };
        let first = names.first().cloned().unwrap_or_default();
        let shared = self.0.entry(first).or_insert_with(|| Shared {
            layers: names,
            moments: Moments::new(width),
            times: 0,
            result: Ok(()),
        });
        // Every so manieth row, each time from another one on.
        let step = (rows.len() / width).div_ceil(ROWS).max(1);
        let chosen = rows.chunks_exact(width).skip(shared.times % step);
        let chosen: Vec<f32> = chosen.step_by(step).flatten().copied().collect();
        shared.times += 1;
        if shared.result.is_ok() {
            shared.result = shared.moments.add(&chosen);
        }
    }
}

impl Inputs {
    /// The matrices and biases of all layers that were seen, on all threads.
    fn round(self, weights: &Weights) -> Result<Weights> {
        let shared: Vec<Shared> = self.0.into_values().collect();
        let rounded = shared.into_par_iter().map(|mut shared| {
            shared.result?;
            shared.moments.flush()?;
            fed_back(weights, &shared.layers, &shared.moments)
        });
        let rounded: Vec<Weights> = rounded.collect::<shared::Result<_>>()?;
        Ok(Weights(rounded.into_iter().flat_map(|of| of.0).collect()))
    }
}
