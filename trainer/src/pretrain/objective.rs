//! Owns the loss of one step: both towers forward, and the contrasts between their features.

use anyhow::{Context, Result};
use candle_core::{D, Tensor};
use shared::clip::{Clip, Tokens};
use shared::nn::linear::Linear;

use super::infonce::{cross_entropy, info_nce, normalise};
use super::settings::LossSettings;

/// One step's data on the device.
#[derive(Debug)]
pub struct Batch {
    /// Concepts n.
    pub concepts: usize,
    /// Pictures of each concept: 1 or 2.
    pub views: usize,
    /// Pairs of WordNet w.
    pub nouns: usize,
    /// [views * n, 3, S, S]: the first view of all concepts, then the second.
    pub pixels: Tensor,
    /// 2 n + 2 w texts: one caption of each concept, another of each, the nouns, their descriptions.
    pub tokens: Tokens,
    /// The group of each concept, if it has one.
    pub groups: Vec<Option<usize>>,
}

/// What is trained.
pub struct Objective {
    clip: Clip,
    logit_scale: Tensor,
    group: Option<Linear>,
    weights: LossSettings,
}

/// The parts of a loss by name, for the log, and their weighted sum.
pub struct Loss {
    /// A scalar to go back from.
    pub total: Tensor,
    /// Name and unweighted value.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// Smoothing of the group targets: clip-art folders are no exact science.
const SMOOTHING: f64 = 0.1;

impl Objective {
    /// An objective over these modules; `logit_scale` [] is the logarithm of the factor of the cosines.
    pub fn new(
        clip: Clip,
        logit_scale: Tensor,
        group: Option<Linear>,
        weights: LossSettings,
    ) -> Self {
        Self {
            clip,
            logit_scale,
            group,
            weights,
        }
    }

    /// The towers.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The loss of a batch: the contrast of each view with a caption of its own, and the weighted others.
    ///
    /// # Errors
    /// If the batch does not fit the towers.
    pub fn loss(&self, batch: &Batch) -> Result<Loss> {
        let (n, w) = (batch.concepts, batch.nouns);
        let scale = self.logit_scale.exp()?;
        let features = self
            .clip
            .vision
            .forward(&batch.pixels, None)
            .context("image tower")?;
        let pictures = normalise(&features)?;
        let texts = normalise(
            &self
                .clip
                .text
                .forward(&batch.tokens, None)
                .context("text tower")?,
        )?;
        let captions = [texts.narrow(0, 0, n)?, texts.narrow(0, n, n)?];

        // Both views share the texts' cost; each has its own caption, so that no caption is used less than a picture.
        let mut image_text = info_nce(&pictures.narrow(0, 0, n)?, &captions[0], &scale)?;
        if batch.views == 2 {
            let second = info_nce(&pictures.narrow(0, n, n)?, &captions[1], &scale)?;
            image_text = ((image_text + second)? * 0.5)?;
        }
        let mut loss = Loss {
            total: image_text.clone(),
            parts: vec![("image_text", image_text)],
        };
        if self.weights.text_text > 0.0 {
            loss.add(
                "text_text",
                self.weights.text_text,
                info_nce(&captions[0], &captions[1], &scale)?,
            )?;
        }
        if self.weights.wordnet > 0.0 && w > 1 {
            let (nouns, descriptions) =
                (texts.narrow(0, 2 * n, w)?, texts.narrow(0, 2 * n + w, w)?);
            loss.add(
                "wordnet",
                self.weights.wordnet,
                info_nce(&nouns, &descriptions, &scale)?,
            )?;
        }
        if self.weights.image_image > 0.0 && batch.views == 2 {
            let views = (pictures.narrow(0, 0, n)?, pictures.narrow(0, n, n)?);
            loss.add(
                "image_image",
                self.weights.image_image,
                info_nce(&views.0, &views.1, &scale)?,
            )?;
        }
        if let Some(group) = &self.group {
            let targets = batch.groups.repeat(batch.views);
            // Features of mean square 1, so that the classifier does not depend on the size the contrast ignores.
            let width = features.dim(D::Minus1)? as f64;
            let logits = group.forward(&(&pictures * width.sqrt())?)?;
            loss.add(
                "group",
                self.weights.group,
                cross_entropy(&logits, &targets, SMOOTHING)?,
            )?;
        }
        Ok(loss)
    }
}

impl Loss {
    fn add(&mut self, name: &'static str, weight: f64, part: Tensor) -> Result<()> {
        self.total = (&self.total + (&part * weight)?)?;
        self.parts.push((name, part));
        Ok(())
    }
}
