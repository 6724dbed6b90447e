//! Owns what both towers share: the stack of blocks, and prompts on their way through it.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use crate::error::{Error, Result};
use crate::nn::attention::Mask;
use crate::nn::block::{Block, BlockShape};
use crate::nn::frozen::Memory;
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

    /// What frozen blocks keep for their gradients from now on.
    pub(super) fn set_memory(&mut self, memory: Memory) {
        for block in &mut self.blocks {
            block.set_memory(memory);
        }
    }

    /// The token `pooled` (its place in each row) of block-0 inputs `x` [B, T, d] after all blocks: [B, d].
    /// Prompts move the place on by as many rows as they add.
    ///
    /// Behind a causal mask a token has no effect on those before it, so whatever follows the batch's last pooled token
    /// is dropped; after the prompts have entered, for dynamic ones look at the padding too.
    ///
    /// # Errors
    /// If a place lies behind the tokens, or widths do not agree.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pooled: &[usize],
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        let (entered, added) = match prompts {
            Some(prompts) => prompts.enter(x)?,
            None => (x.clone(), 0),
        };
        let mut x = self.needed(&entered, pooled, added)?;
        if let first @ 1.. = prompts.map_or(Ok(0), |prompts| prompts.overwritten(0))? {
            x = x.narrow(1, first, x.dim(1)?.saturating_sub(first))?;
        }
        self.finish(0, x, pooled, prompts, added)
    }

    /// The input of block `count` [B, T, d], before which no prompts enter, for block-0 inputs `x` [B, T, d].
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub(super) fn begin(&self, x: &Tensor, pooled: &[usize], count: usize) -> Result<Tensor> {
        let mut x = self.needed(x, pooled, 0)?;
        for block in self.blocks.iter().take(count) {
            x = block.forward(&x, None)?;
        }
        Ok(x)
    }

    /// The tokens of `x` up to the last that is needed, behind as many rows as were `added`.
    fn needed(&self, x: &Tensor, pooled: &[usize], added: usize) -> Result<Tensor> {
        let needed = until_last(pooled, x.dim(1)?.saturating_sub(added))?;
        match self.mask {
            Mask::Causal => Ok(x.narrow(1, 0, added + needed)?.contiguous()?),
            Mask::None => Ok(x.clone()),
        }
    }

    /// What [`Encoder::forward`] gives, from the input `x` of block `first` on, without the rows that are overwritten there.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub(super) fn finish(
        &self,
        first: usize,
        mut x: Tensor,
        pooled: &[usize],
        prompts: Option<&TowerPrompts>,
        mut added: usize,
    ) -> Result<Tensor> {
        let overwritten = |layer| prompts.map_or(Ok(0), |prompts| prompts.overwritten(layer));
        let last = self.blocks.len().saturating_sub(1);
        for (layer, block) in self.blocks.iter().enumerate().skip(first) {
            let mut prefix = None;
            if let Some(prompts) = prompts {
                let (input, more) = prompts.before(layer, x)?;
                (x, added) = (input, added + more);
                prefix = prompts.prefix(layer);
            }
            if layer == last {
                let places: Vec<usize> = pooled.iter().map(|place| place + added).collect();
                return block.forward_at(&x, prefix, &places);
            }
            x = block.forward_behind(&x, prefix, overwritten(layer + 1)?)?;
        }
        Err(Error::Input("a tower has no blocks".into()))
    }
}

/// How many of each post's `tokens` there are up to the last of those at `pooled`.
fn until_last(pooled: &[usize], tokens: usize) -> Result<usize> {
    let last = pooled.iter().copied().max().unwrap_or(0);
    if last >= tokens {
        return Err(Error::Input(format!(
            "an end token is said to be at index {last} of {tokens} tokens; \
             it must be the place of the end token in the same row"
        )));
    }
    Ok(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_needed_up_to_the_last_end() {
        assert_eq!(until_last(&[2, 5, 0], 6).unwrap(), 6);
        assert_eq!(until_last(&[2, 5, 0], 77).unwrap(), 6);
        let error = until_last(&[2, 5, 0], 5).unwrap_err().to_string();
        assert!(error.contains("index 5 of 5 tokens"), "{error}");
    }
}
