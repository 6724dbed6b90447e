//! Owns the text tower on packed weights.

use super::prompts::Prompts;
use super::tower::{Encoder, Memory, Names};
use super::weights::{Values, Weight, Weights};
use crate::config::ClipConfig;
use crate::error::{Error, Result};
use crate::nn::block::BlockShape;

/// The text tower: as `clip::text::TextTower`, for one text at a time.
pub(super) struct TextTower {
    width: usize,
    vocabulary: usize,
    context: usize,
    tokens: Weight,
    /// [context, d].
    positions: Vec<f32>,
    pub(super) encoder: Encoder,
}

impl TextTower {
    /// Takes out `text_model.*` and `text_projection.weight`.
    pub(super) fn load(config: &ClipConfig, weights: &mut Weights) -> Result<Self> {
        let (joint, config) = (config.projection_dim, &config.text_config);
        let width = config.hidden_size;
        let at = |what: &str| format!("text_model.embeddings.{what}_embedding.weight");
        let (vocabulary, context) = (config.vocab_size, config.max_position_embeddings);
        let names = Names {
            blocks: "text_model.encoder.layers",
            norm: "text_model.final_layer_norm",
            projection: "text_projection",
        };
        Ok(Self {
            width,
            vocabulary,
            context,
            tokens: weights.take(&at("token"), &[vocabulary, width])?,
            positions: weights.floats(&at("position"), &[context, width])?,
            encoder: Encoder::load(
                config.num_hidden_layers,
                BlockShape::from(config),
                joint,
                names,
                weights,
            )?,
        })
    }

    /// Bytes of memory that the weights take.
    pub(super) fn bytes(&self) -> usize {
        let tokens: usize = self.tokens.parts.iter().map(Values::size).sum();
        self.encoder.bytes() + tokens + 4 * self.positions.len()
    }

    /// Features `[D]` of a text of `ids`, not normalised; its end token is at `end`, what follows is padding.
    pub(super) fn features(
        &self,
        memory: &mut Memory,
        ids: &[u32],
        end: usize,
        prompts: Option<&Prompts>,
    ) -> Result<Vec<f32>> {
        let (count, context, vocabulary) = (ids.len(), self.context, self.vocabulary);
        if count > context || end >= count {
            return Err(Error::Input(format!(
                "a text of {count} tokens that ends at {end}; the text tower takes at most {context}, the end among them"
            )));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            return Err(Error::Input(format!(
                "token {id} is beyond the vocabulary of {vocabulary}"
            )));
        }
        // Behind the causal mask nothing sees the padding, save prompts that look at the whole input.
        let read = if prompts.is_some_and(Prompts::look_at_padding) {
            count
        } else {
            end + 1
        };
        let sizes = [read, end + 1, end];
        Ok(self.encoder.run(memory, prompts, sizes, |x, _, _| {
            let rows = x.chunks_exact_mut(self.width);
            let positions = self.positions.chunks_exact(self.width);
            for ((&id, row), position) in ids.iter().zip(rows).zip(positions) {
                row.copy_from_slice(position);
                self.tokens.add_row(id as usize, row);
            }
        }))
    }
}
