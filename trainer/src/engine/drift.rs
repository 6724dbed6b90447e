//! Owns how far a bundle is from the model it was made of: both see the same validation posts in each case.

use anyhow::{Context, Result};
use candle_core::Device;
use shared::bundle::Figure;
use shared::predict::{Classifier, OnDevice};
use shared::{Case, Modality};

use super::dataset;
use super::run::TrainedRun;
use super::shown::{self, Shown, logits};
use crate::data::record::{self, Post};
use crate::data::split::Split;
use crate::metrics::{Predictions, Selection};

/// Compares the bundle of `files` with the run's model on at most `most` validation posts.
///
/// # Errors
/// If the posts cannot be read, or the files make no classifier.
pub fn measure(run: &TrainedRun, files: &[(String, Vec<u8>)], most: usize) -> Result<Vec<Figure>> {
    let (data, _made) = dataset::read(&run.settings)?;
    let posts = record::of_split(&data.posts, Split::Val, Some(most));
    anyhow::ensure!(!posts.is_empty(), "the data set has no validation posts");
    let targets = record::indices(&posts, &run.config().classes)?;
    let device = Device::Cpu;
    let network = OnDevice {
        model: run.model(&device)?,
        device: device.clone(),
    };
    let (images, tokenizer) = (run.clip.preprocessor.clone(), run.clip.tokenizer.clone());
    let model = Classifier::new(network, images, tokenizer)?;
    let bundle = shown::classifier(files)?;
    let mut figures = Vec::new();
    for case in Case::ALL {
        let mut seen = Compared::default();
        for (post, targets) in posts.iter().zip(&targets) {
            seen.add(case, post, targets, &model, &bundle)
                .with_context(|| post.place())?;
        }
        figures.extend(seen.figures(case, run));
    }
    Ok(figures)
}

/// What both said of the posts of one case.
#[derive(Default)]
struct Compared {
    /// By modality.
    cosines: [Vec<f64>; 2],
    same: usize,
    model: Predictions,
    bundle: Predictions,
}

impl Compared {
    /// Adds a post without what the case lacks; not one that lacks it already.
    fn add(
        &mut self,
        case: Case,
        post: &Post,
        targets: &[usize],
        model: &Classifier,
        bundle: &Classifier,
    ) -> Result<()> {
        let Some(shown) = Shown::of(post, case)? else {
            return Ok(());
        };
        let raw = [shown.raw()];
        let [expected, found] = [model, bundle].map(|with| with.features(&raw));
        for (expected, found) in expected?.into_iter().zip(found?) {
            for (modality, pair) in expected.iter().zip(&found).enumerate() {
                if let (Some(expected), Some(found)) = pair {
                    self.cosines[modality].push(cosine(expected, found));
                }
            }
        }
        let [expected, found] =
            [model, bundle].map(|with| with.classify(raw[0].image, raw[0].text));
        let (expected, found) = (expected?, found?);
        self.same += usize::from(expected.index == found.index);
        self.model.push(case, logits(&expected), targets.to_vec());
        self.bundle.push(case, logits(&found), targets.to_vec());
        Ok(())
    }

    fn figures(&self, case: Case, run: &TrainedRun) -> Vec<Figure> {
        let posts = self.model.len();
        let mut figures = Vec::new();
        if posts == 0 {
            return figures;
        }
        let mut add = |metric: String, value: f64| {
            figures.push(Figure {
                split: Split::Val.name().into(),
                case: Some(case),
                metric,
                // More digits would be those of this machine's rounding.
                value: (value * 1e6).round() / 1e6,
                posts,
            });
        };
        for (modality, cosines) in Modality::ALL.into_iter().zip(&self.cosines) {
            if !cosines.is_empty() {
                let name = modality.name();
                let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
                let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
                add(format!("{name}_cosine"), mean);
                add(format!("{name}_cosine_least"), least);
            }
        }
        add("same_class".into(), self.same as f64 / posts as f64);
        let (task, classes) = (run.config().task, run.config().classes.len());
        let name = Selection::of(task).name();
        for (of, predictions) in [("model", &self.model), ("bundle", &self.bundle)] {
            if let Some(value) = predictions.figure(name, task, classes) {
                add(format!("{name}_of_{of}"), value);
            }
        }
        figures
    }
}

/// 1 for the same direction. Two rows of zeros have the same.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
        products.sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        f64::from(a == b)
    }
}
