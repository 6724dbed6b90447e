//! Owns batches of pooled tokens: posts whose frozen towers have run already, so that only what comes after is computed.
//!
//! Without prompts nothing below the last norms is trained, and a post's pooled tokens are the same in every epoch and
//! in every case: they are computed once (`trainer::engine::frozen`).

use candle_core::Tensor;

use super::batch::Groups;
use super::{Batch, CaseOutput, Model};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::head::Features;

/// B posts of any mix of cases, as the towers' last blocks leave them.
#[derive(Clone, Debug)]
pub struct PooledBatch {
    /// The case of each post.
    pub cases: Vec<Case>,
    /// Class tokens [I, d_I] of the I posts that have an image, in the posts' order.
    pub image: Option<Tensor>,
    /// End tokens [N, d_T] of the N posts that have a text, in the posts' order.
    pub text: Option<Tensor>,
}

impl Model {
    /// Runs the towers without prompts, as far as their last blocks.
    ///
    /// # Errors
    /// If the batch is empty or its parts do not belong together, or the model has prompts: they make pooled tokens
    /// depend on what is trained.
    pub fn pool(&self, batch: &Batch) -> Result<PooledBatch> {
        batch.check()?;
        if self.config.prompt != crate::config::PromptConfig::None {
            return Err(Error::Input(
                "posts can be pooled beforehand only by a model without prompts".into(),
            ));
        }
        let image = batch.pixels.as_ref();
        let text = batch.tokens.as_ref();
        Ok(PooledBatch {
            cases: batch.cases.clone(),
            image: image
                .map(|pixels| self.clip.vision.pooled(pixels, None))
                .transpose()?,
            text: text
                .map(|tokens| self.clip.text.pooled(tokens, None))
                .transpose()?,
        })
    }

    /// The features of pooled posts: equal to [`Model::features`] of the posts themselves.
    ///
    /// # Errors
    /// If the batch is empty or its parts do not belong together.
    pub fn features_of_pooled(&self, batch: &PooledBatch) -> Result<Vec<(Vec<usize>, Features)>> {
        if batch.cases.is_empty() {
            return Err(Error::Input("the batch is empty".into()));
        }
        let groups = Groups::of(&batch.cases);
        let image = groups.sorted(batch.image.as_ref(), Modality::Image)?;
        let image = image.map(|rows| self.clip.vision.project(&rows));
        let text = groups.sorted(batch.text.as_ref(), Modality::Text)?;
        let text = text.map(|rows| self.clip.text.project(&rows));
        groups.features([image.transpose()?, text.transpose()?])
    }

    /// Features and scores of pooled posts: equal to [`Model::forward`] of the posts themselves.
    ///
    /// # Errors
    /// As [`Model::features_of_pooled`].
    pub fn forward_pooled(&self, batch: &PooledBatch) -> Result<Vec<CaseOutput>> {
        self.outputs(self.features_of_pooled(batch)?)
    }
}
