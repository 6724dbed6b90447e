//! Owns what both towers share: the stack of blocks, and prompts on their way through it.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::error::{Error, Result};
use crate::nn::attention::Mask;
use crate::nn::block::{Block, BlockShape};
use crate::prompt::slots::TowerPrompts;

/// A stack of blocks that gives one token per post.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    blocks: Vec<Block>,
    mask: Mask,
}

impl Encoder {
    /// Reads `layers.{0..count}` of `vb`.
    pub(super) fn load(count: usize, shape: BlockShape, vb: VarBuilder<'_>) -> Result<Self> {
        let blocks = (0..count)
            .map(|i| Block::load(shape, vb.pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self {
            blocks,
            mask: shape.mask,
        })
    }

    /// The token `pooled` `[B]` (index in each row, u32) of block-0 inputs `x` [B, T, d] after all blocks: [B, d].
    /// Prompts move the index on by as many rows as they add.
    ///
    /// Behind a causal mask a token has no effect on those before it, so whatever follows the batch's last pooled token
    /// is dropped; after the prompts have entered, for dynamic ones look at the padding too. Finding that token waits
    /// for the device, once.
    ///
    /// # Errors
    /// If an index lies behind the tokens, or widths do not agree.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pooled: &Tensor,
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        let tokens = x.dim(1)?;
        let (mut x, mut added) = match prompts {
            Some(prompts) => prompts.enter(x)?,
            None => (x.clone(), 0),
        };
        if self.mask == Mask::Causal {
            let needed = added + until_last(pooled, tokens)?;
            x = x.narrow(1, 0, needed)?.contiguous()?;
        }
        let last = self.blocks.len().saturating_sub(1);
        for (layer, block) in self.blocks.iter().enumerate() {
            let mut prefix = None;
            if let Some(prompts) = prompts {
                let (input, more) = prompts.before(layer, x)?;
                (x, added) = (input, added + more);
                prefix = prompts.prefix(layer);
            }
            if layer == last {
                return block.forward_at(&x, prefix, &flat_rows(pooled, x.dim(1)?, added)?);
            }
            x = block.forward(&x, prefix)?;
        }
        let rows = flat_rows(pooled, x.dim(1)?, added)?;
        Ok(x.flatten(0, 1)?.index_select(&rows, 0)?)
    }
}

/// How many of each post's `tokens` there are up to the last of those at `pooled` `[B]`.
fn until_last(pooled: &Tensor, tokens: usize) -> Result<usize> {
    let last = pooled.to_vec1::<u32>()?.into_iter().max().unwrap_or(0) as usize;
    if last >= tokens {
        return Err(Error::Input(format!(
            "an end token is said to be at index {last} of {tokens} tokens; \
             it must be the place of the end token in the same row"
        )));
    }
    Ok(last + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_needed_up_to_the_last_end() {
        let ends = Tensor::new(&[2u32, 5, 0], &Device::Cpu).unwrap();
        assert_eq!(until_last(&ends, 6).unwrap(), 6);
        assert_eq!(until_last(&ends, 77).unwrap(), 6);
        let error = until_last(&ends, 5).unwrap_err().to_string();
        assert!(error.contains("index 5 of 5 tokens"), "{error}");
    }
}
