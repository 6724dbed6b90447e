//! Owns posts as a classifier is shown them: in one case, without what it lacks.

use std::borrow::Cow;

use anyhow::{Context, Result};
use shared::bundle;
use shared::head::Answer;
use shared::predict::{Classifier, Prediction, RawPost};
use shared::{Case, Modality};

use crate::data::record::{self, Post};
use crate::metrics::Predictions;

/// A post without what a case lacks.
pub struct Shown<'a> {
    image: Option<Cow<'a, [u8]>>,
    text: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// The post in a case; none if it lacks something that the case has.
    ///
    /// # Errors
    /// If its picture cannot be read.
    pub fn of(post: &'a Post, case: Case) -> Result<Option<Self>> {
        let image = post.image.as_ref().filter(|_| case.has(Modality::Image));
        let text = post.text.as_deref().filter(|_| case.has(Modality::Text));
        if image.is_some() != case.has(Modality::Image)
            || text.is_some() != case.has(Modality::Text)
        {
            return Ok(None);
        }
        let image = image.map(|picture| picture.bytes()).transpose();
        let image = image.with_context(|| post.place())?;
        Ok(Some(Self { image, text }))
    }

    /// As classifiers take it.
    pub fn raw(&self) -> RawPost<'_> {
        RawPost {
            image: self.image.as_deref(),
            text: self.text,
        }
    }
}

/// The classifier of the files of a bundle.
///
/// # Errors
/// If they make none.
pub fn classifier(files: &[(String, Vec<u8>)]) -> Result<Classifier> {
    let file = |name: &str| {
        let found = files.iter().find(|(own, _)| own == name);
        let (_, bytes) = found.with_context(|| format!("the bundle has no {name}"))?;
        anyhow::Ok(bytes.clone())
    };
    Ok(bundle::read(file, &candle_core::Device::Cpu)?.1)
}

/// What a classifier makes of posts that all appear in one case.
#[derive(Default)]
pub struct Seen {
    /// What the head takes, `[D]` by modality.
    pub inputs: Vec<[Option<Vec<f32>>; 2]>,
    /// What the head says, of trained classes alone.
    pub answers: Vec<Answer>,
    /// Their classes by the order of the classifier's; one for multi-class tasks.
    pub targets: Vec<Vec<usize>>,
}

impl Seen {
    /// Shows a classifier those of `posts` that can appear in a case.
    ///
    /// # Errors
    /// If a post cannot be read, or has a class that the classifier does not know.
    pub fn of(classifier: &Classifier, posts: &[Post], case: Case) -> Result<Self> {
        let targets = record::indices(posts, &classifier.network().config().classes)?;
        let head = classifier.network().head();
        let head = head.context("the classifier runs on tensors; load it on the processor")?;
        let mut seen = Self::default();
        for (post, targets) in posts.iter().zip(targets) {
            let Some(shown) = Shown::of(post, case)? else {
                continue;
            };
            let features = classifier.features(&[shown.raw()]);
            for features in features.with_context(|| post.place())? {
                let inputs = head.inputs(case, &features)?;
                seen.answers.push(head.answer_of_inputs(case, &inputs));
                seen.inputs.push(inputs);
                seen.targets.push(targets.clone());
            }
        }
        Ok(seen)
    }

    /// As predictions of a case, for metrics.
    pub fn predictions(&self, case: Case) -> Predictions {
        let mut all = Predictions::default();
        for (answer, targets) in self.answers.iter().zip(&self.targets) {
            all.push(case, answer.logits.clone(), targets.clone());
        }
        all
    }
}

/// The logits in the order of the classes.
pub fn logits(prediction: &Prediction) -> Vec<f32> {
    let mut logits = vec![0.0; prediction.classes.len()];
    for class in &prediction.classes {
        logits[class.index] = class.logit;
    }
    logits
}
