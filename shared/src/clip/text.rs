//! Owns the text tower.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::Tokens;
use super::tower::Encoder;
use crate::config::{ClipConfig, TextConfig};
use crate::error::{Error, Result};
use crate::nn::block::BlockShape;
use crate::nn::frozen::Memory;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::nn::tensor;
use crate::prompt::slots::TowerPrompts;

/// Tokens, causal blocks, the end token's projection into the joint space (method: section 1).
#[derive(Clone, Debug)]
pub struct TextTower {
    config: TextConfig,
    tokens: Tensor,
    positions: Tensor,
    encoder: Encoder,
    final_norm: LayerNorm,
    projection: Linear,
}

impl TextTower {
    /// What frozen blocks keep for their gradients from now on.
    pub(super) fn set_memory(&mut self, memory: Memory) {
        self.encoder.set_memory(memory);
    }

    /// Where its tensors are.
    pub(super) fn device(&self) -> &Device {
        self.tokens.device()
    }

    /// What its blocks compute in.
    pub(crate) fn dtype(&self) -> DType {
        self.tokens.dtype()
    }

    /// Reads `text_model.*` and `text_projection.weight`; all up to the last block in `dtype`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(config: &ClipConfig, vb: VarBuilder<'_>, dtype: DType) -> Result<Self> {
        let (joint, config) = (config.projection_dim, config.text_config.clone());
        let after = vb.pp("text_model");
        let model = after.to_dtype(dtype);
        let embeddings = model.pp("embeddings");
        let width = config.hidden_size;
        let shape = BlockShape::from(&config);
        let positions = [config.max_position_embeddings, width];
        Ok(Self {
            tokens: tensor(
                &embeddings,
                &[config.vocab_size, width],
                "token_embedding.weight",
            )?,
            positions: tensor(&embeddings, &positions, "position_embedding.weight")?,
            encoder: Encoder::load(config.num_hidden_layers, shape, model.pp("encoder"))?,
            final_norm: LayerNorm::load(
                width,
                config.layer_norm_eps,
                after.pp("final_layer_norm"),
            )?,
            projection: Linear::load(width, joint, false, vb.pp("text_projection"))?,
            config,
        })
    }

    /// Tokens [B, L], L at most the context length, to projected features [B, D], not normalised.
    /// Padding is not masked; it comes after the end token, so it has no effect but on dynamic prompts, and the blocks
    /// run only up to the batch's last end token.
    ///
    /// # Errors
    /// If the texts are longer than the context, hold an id beyond the vocabulary, or end behind their last token.
    pub fn forward(&self, tokens: &Tokens, prompts: Option<&TowerPrompts>) -> Result<Tensor> {
        self.project(&self.pooled(tokens, prompts)?)
    }

    /// Features [B, D] of pooled tokens [B, d]: the last norm, which may be trained, and the projection, both in the type of
    /// the projection.
    ///
    /// # Errors
    /// If the width is not the tower's.
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        let pooled = pooled.to_dtype(self.projection.weight().dtype())?;
        self.projection.forward(&self.final_norm.forward(&pooled)?)
    }

    /// The end token after the last block, [B, d], in the blocks' type: what [`TextTower::project`] makes features of.
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn pooled(&self, tokens: &Tokens, prompts: Option<&TowerPrompts>) -> Result<Tensor> {
        let x = self.embed(tokens)?;
        self.encoder.forward(&x, &tokens.eot, prompts)
    }

    /// The input of block `count` [B, T, d], before which no prompts enter; T is what the batch's last end token needs.
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn begin(&self, tokens: &Tokens, count: usize) -> Result<Tensor> {
        self.encoder.begin(&self.embed(tokens)?, &tokens.eot, count)
    }

    /// Features [B, D] of what [`TextTower::begin`] gave for block `first`, whose end tokens are at `eot`.
    ///
    /// # Errors
    /// If the width is not the tower's.
    pub fn finish(
        &self,
        first: usize,
        (x, eot): (&Tensor, &[usize]),
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        let x = x.to_dtype(self.tokens.dtype())?;
        self.project(&self.encoder.finish(first, x, eot, prompts, 0)?)
    }

    /// The tokens with their positions, [B, L, d].
    fn embed(&self, tokens: &Tokens) -> Result<Tensor> {
        let (batch, length) = tokens.ids.dims2()?;
        let (context, width) = (self.config.max_position_embeddings, self.config.hidden_size);
        if length > context {
            return Err(Error::Input(format!(
                "texts of {length} tokens; the text tower takes at most {context}"
            )));
        }
        if tokens.eot.len() != batch {
            return Err(Error::Input(format!(
                "{batch} texts have {} end tokens; each needs one",
                tokens.eot.len()
            )));
        }
        let ids = tokens.ids.flatten_all()?;
        let x = self
            .tokens
            .index_select(&ids, 0)?
            .reshape((batch, length, width))?;
        Ok(x.broadcast_add(&self.positions.narrow(0, 0, length)?)?)
    }
}
