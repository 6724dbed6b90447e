//! Owns what both towers share: the stack of blocks, and prompts on their way through it.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::error::Result;
use crate::nn::block::{Block, BlockShape};
use crate::prompt::slots::TowerPrompts;

/// A stack of blocks that gives one token per post.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    blocks: Vec<Block>,
}

impl Encoder {
    /// Reads `layers.{0..count}` of `vb`.
    pub(super) fn load(count: usize, shape: BlockShape, vb: VarBuilder<'_>) -> Result<Self> {
        let blocks = (0..count)
            .map(|i| Block::load(shape, vb.pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self { blocks })
    }

    /// The token `pooled` `[B]` (index in each row, u32) of block-0 inputs `x` [B, T, d] after all blocks: [B, d].
    /// Prompts move the index on by as many rows as they add.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pooled: &Tensor,
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        let (mut x, added) = match prompts {
            Some(prompts) => prompts.enter(x)?,
            None => (x.clone(), 0),
        };
        let rows = flat_rows(pooled, x.dim(1)?, added)?;
        let Some((last, first)) = self.blocks.split_last() else {
            return Ok(x.flatten(0, 1)?.index_select(&rows, 0)?);
        };
        let renew = |layer: usize, x: Tensor| match prompts {
            Some(prompts) => prompts.renew(layer, x),
            None => Ok(x),
        };
        for (layer, block) in first.iter().enumerate() {
            x = block.forward(&renew(layer, x)?)?;
        }
        last.forward_at(&renew(first.len(), x)?, &rows)
    }
}

/// Rows in [B * T, d] of the tokens `pooled` `[B]`, moved on by `added`.
fn flat_rows(pooled: &Tensor, tokens: usize, added: usize) -> Result<Tensor> {
    let batch = pooled.dim(0)?;
    let starts: Vec<u32> = (0..batch).map(|b| (b * tokens + added) as u32).collect();
    Ok((pooled + Tensor::from_vec(starts, batch, pooled.device())?)?)
}

/// Index 0 for every post: the class token.
pub(super) fn first_token(batch: usize, device: &Device) -> Result<Tensor> {
    Ok(Tensor::zeros(batch, DType::U32, device)?)
}
