//! Owns the image tower.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;

use super::tower::Encoder;
use crate::config::{ClipConfig, VisionConfig};
use crate::error::{Error, Result};
use crate::nn::block::BlockShape;
use crate::nn::frozen::Memory;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::nn::tensor;
use crate::prompt::slots::TowerPrompts;

/// Patches, class token, blocks, projection into the joint space (method: section 1).
#[derive(Clone, Debug)]
pub struct VisionTower {
    config: VisionConfig,
    class: Tensor,
    patches: Tensor,
    positions: Tensor,
    pre_norm: LayerNorm,
    encoder: Encoder,
    post_norm: LayerNorm,
    projection: Linear,
}

impl VisionTower {
    /// What frozen blocks keep for their gradients from now on.
    pub(super) fn set_memory(&mut self, memory: Memory) {
        self.encoder.set_memory(memory);
    }

    /// Reads `vision_model.*` and `visual_projection.weight`; all up to the last block in `dtype`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(config: &ClipConfig, vb: VarBuilder<'_>, dtype: DType) -> Result<Self> {
        let (joint, config) = (config.projection_dim, config.vision_config.clone());
        let after = vb.pp("vision_model");
        let model = after.to_dtype(dtype);
        let embeddings = model.pp("embeddings");
        let (width, patch) = (config.hidden_size, config.patch_size);
        let shape = BlockShape::from(&config);
        Ok(Self {
            class: tensor(&embeddings, &[width], "class_embedding")?,
            patches: tensor(
                &embeddings,
                &[width, 3, patch, patch],
                "patch_embedding.weight",
            )?,
            positions: tensor(
                &embeddings,
                &[config.patches() + 1, width],
                "position_embedding.weight",
            )?,
            // Hugging Face's own spelling.
            pre_norm: LayerNorm::load(width, config.layer_norm_eps, model.pp("pre_layrnorm"))?,
            encoder: Encoder::load(config.num_hidden_layers, shape, model.pp("encoder"))?,
            post_norm: LayerNorm::load(width, config.layer_norm_eps, after.pp("post_layernorm"))?,
            projection: Linear::load(width, joint, false, vb.pp("visual_projection"))?,
            config,
        })
    }

    /// Preprocessed pixels [B, 3, S, S] to projected features [B, D], not normalised.
    ///
    /// # Errors
    /// If the pixels are not of the configured size.
    pub fn forward(&self, pixels: &Tensor, prompts: Option<&TowerPrompts>) -> Result<Tensor> {
        self.project(&self.pooled(pixels, prompts)?)
    }

    /// The class token after the last block, [B, d], in the blocks' type: what [`VisionTower::project`] makes features of.
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    pub fn pooled(&self, pixels: &Tensor, prompts: Option<&TowerPrompts>) -> Result<Tensor> {
        let x = self.pre_norm.forward(&self.embed(pixels)?)?;
        self.encoder.forward(&x, &vec![0; x.dim(0)?], prompts)
    }

    /// The input of block `count` [B, patches + 1, d], before which no prompts enter.
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    pub fn begin(&self, pixels: &Tensor, count: usize) -> Result<Tensor> {
        let x = self.pre_norm.forward(&self.embed(pixels)?)?;
        self.encoder.begin(&x, &vec![0; x.dim(0)?], count)
    }

    /// Features [B, D] of what [`VisionTower::begin`] gave for block `first`.
    ///
    /// # Errors
    /// If the width is not the tower's.
    pub fn finish(
        &self,
        first: usize,
        x: &Tensor,
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        let x = x.to_dtype(self.patches.dtype())?;
        let pooled = vec![0; x.dim(0)?];
        self.project(&self.encoder.finish(first, x, &pooled, prompts, 0)?)
    }

    /// Features [B, D] of pooled tokens [B, d]: the last norm and the projection, which may be trained, both in the type of
    /// the projection.
    ///
    /// # Errors
    /// If the width is not the tower's.
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        let pooled = pooled.to_dtype(self.projection.weight().dtype())?;
        self.projection.forward(&self.post_norm.forward(&pooled)?)
    }

    /// Class token and patches with positions, [B, patches + 1, d]. A convolution whose stride is its kernel is a
    /// product of patches laid out flat.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (side, patch, width) = (
            self.config.image_size,
            self.config.patch_size,
            self.config.hidden_size,
        );
        let batch = match pixels.dims() {
            &[batch, 3, h, w] if h == side && w == side => batch,
            other => {
                return Err(Error::Input(format!(
                    "pixels have shape {other:?}; the image tower takes [batch, 3, {side}, {side}]"
                )));
            }
        };
        let grid = side / patch;
        let flat = pixels
            .to_dtype(self.patches.dtype())?
            .reshape(&[batch, 3, grid, patch, grid, patch])?
            .permute([0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((batch, grid * grid, 3 * patch * patch))?;
        let patches =
            Linear::new(self.patches.reshape((width, 3 * patch * patch))?, None).forward(&flat)?;
        let class = self
            .class
            .reshape((1, 1, width))?
            .broadcast_as((batch, 1, width))?;
        Ok(Tensor::cat(&[&class.contiguous()?, &patches], 1)?.broadcast_add(&self.positions)?)
    }
}
