//! Owns posts as a classifier is shown them: in one case, without what it lacks.

use std::borrow::Cow;

use anyhow::{Context, Result};
use shared::bundle;
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

/// What a classifier says of those of `posts` that can appear in a case, all in that case; their classes by the order of
/// its own.
///
/// # Errors
/// If a post cannot be read, or has a class that the classifier does not know.
pub fn predictions(classifier: &Classifier, posts: &[Post], case: Case) -> Result<Predictions> {
    let targets = record::indices(posts, &classifier.network().config().classes)?;
    let mut all = Predictions::default();
    for (post, targets) in posts.iter().zip(targets) {
        let Some(shown) = Shown::of(post, case)? else {
            continue;
        };
        let RawPost { image, text } = shown.raw();
        let prediction = classifier.classify(image, text);
        let prediction = prediction.with_context(|| post.place())?;
        all.push(case, logits(&prediction), targets);
    }
    Ok(all)
}

/// The logits in the order of the classes.
pub fn logits(prediction: &Prediction) -> Vec<f32> {
    let mut logits = vec![0.0; prediction.classes.len()];
    for class in &prediction.classes {
        logits[class.index] = class.logit;
    }
    logits
}
