//! Owns batches of begun posts: those whose towers have run up to the first block that has prompts, so that only the rest is
//! computed.
//!
//! What comes before that block depends on nothing that is trained, nor on the case: it is the same in every epoch and is
//! computed once (`trainer::engine::begun`).

use candle_core::Tensor;

use super::batch::Groups;
use super::{Batch, CaseOutput, Model};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::head::Features;
use crate::prompt;

/// B posts of any mix of cases, as inputs of the model's [first block](Model::first_block) with prompts.
#[derive(Clone, Debug)]
pub struct BegunBatch {
    /// The case of each post.
    pub cases: Vec<Case>,
    /// Rows [I, T, d_I] of the I posts that have an image, in the posts' order.
    pub image: Option<Tensor>,
    /// Rows [N, T, d_T] of the N posts that have a text, in the posts' order, with the place of each one's end token. What
    /// is behind that place has no effect.
    pub text: Option<(Tensor, Vec<usize>)>,
}

impl Model {
    /// The first block that has prompts; 0 if there are none.
    pub fn first_block(&self) -> usize {
        prompt::plan(&self.config.prompt).rows().first
    }

    /// Runs the towers up to the [first block](Model::first_block) with prompts.
    ///
    /// # Errors
    /// If the batch is empty or its parts do not belong together.
    pub fn begin(&self, batch: &Batch) -> Result<BegunBatch> {
        batch.check()?;
        let first = self.first_block();
        let image = batch.pixels.as_ref();
        let image = image.map(|pixels| self.clip.vision.begin(pixels, first));
        let text = batch.tokens.as_ref().map(|tokens| {
            let rows = self.clip.text.begin(tokens, first)?;
            Ok::<_, Error>((rows, tokens.eot.clone()))
        });
        Ok(BegunBatch {
            cases: batch.cases.clone(),
            image: image.transpose()?,
            text: text.transpose()?,
        })
    }

    /// The features of begun posts: equal to [`Model::features`] of the posts themselves.
    ///
    /// # Errors
    /// If the batch is empty or its parts do not belong together.
    pub fn features_of_begun(&self, batch: &BegunBatch) -> Result<Vec<(Vec<usize>, Features)>> {
        if batch.cases.is_empty() {
            return Err(Error::Input("the batch is empty".into()));
        }
        let (groups, first) = (Groups::of(&batch.cases), self.first_block());
        let [image, text] = self.prompts_of(&groups)?;
        let rows = groups.sorted(batch.image.as_ref(), Modality::Image)?;
        let image = rows.map(|rows| self.clip.vision.finish(first, &rows, image.as_ref()));
        let rows = batch.text.as_ref();
        let rows = groups.texts(rows.map(|(rows, eot)| (rows, eot.as_slice())))?;
        let text =
            rows.map(|(rows, eot)| self.clip.text.finish(first, (&rows, &eot), text.as_ref()));
        groups.features([image.transpose()?, text.transpose()?])
    }

    /// Features and scores of begun posts: equal to [`Model::forward`] of the posts themselves.
    ///
    /// # Errors
    /// As [`Model::features_of_begun`].
    pub fn forward_begun(&self, batch: &BegunBatch) -> Result<Vec<CaseOutput>> {
        self.outputs(self.features_of_begun(batch)?)
    }
}
