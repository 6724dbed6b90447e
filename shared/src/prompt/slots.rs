//! Owns the slots where prompts enter a tower: what every prompt method fills and every tower reads.

use candle_core::{D, Tensor};

use crate::error::Result;
use crate::nn::attention::{Mask, Prefix, attention};
use crate::nn::linear::Linear;

/// The prompts of one tower for one case. Everything here is the same for all posts of the case, save the dynamic rows.
#[derive(Clone, Debug, Default)]
pub struct TowerPrompts {
    /// Rows [n, d] placed before CLS or SOT at the input of block 0, after position embedding and pre-norm.
    pub prepend: Option<Tensor>,
    /// Further rows computed from the tower's own block-0 input, placed after `prepend`.
    pub dynamic: Option<DynamicPrompt>,
    /// What happens at block l, in the order of the blocks; at blocks beyond the list nothing. At block 0 it happens
    /// after the rows above have entered.
    pub slots: Vec<Slot>,
}

/// What happens at one block, with rows as tensors or as plain values.
#[derive(Clone, Debug, Default)]
pub enum Slot<T = Tensor> {
    /// Nothing: rows are carried on as the block before left them.
    #[default]
    Carry,
    /// These rows [r, d] overwrite the first r of the block's input.
    Overwrite(T),
    /// These rows [r, d] come in front of the block's input, which grows.
    Prepend(T),
    /// The block's attention looks at these keys and values too.
    Attend(Prefix<T>),
}

/// Rows that look at the post: single-head attention of constant queries over the tower's block-0 input,
/// padding included and unmasked (DCP; method: section 2).
#[derive(Clone, Debug)]
pub struct DynamicPrompt {
    /// Projected queries [n, d], a constant of the case.
    pub query: Tensor,
    /// Key projection d -> d.
    pub key: Linear,
    /// Value projection d -> d.
    pub value: Linear,
    /// Output projection d -> d.
    pub output: Linear,
}

impl DynamicPrompt {
    /// The rows for block-0 inputs `x` [B, T, d]: [B, n, d].
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let query = repeat(&self.query, batch)?;
        let attended = attention(
            &query,
            &self.key.forward(x)?,
            &self.value.forward(x)?,
            1,
            Mask::None,
        )?;
        self.output.forward(&attended)
    }
}

impl TowerPrompts {
    /// Puts the rows in front of block 0's input `x` [B, T, d]; gives the longer input and how many rows were added.
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn enter(&self, x: &Tensor) -> Result<(Tensor, usize)> {
        let batch = x.dim(0)?;
        let mut parts = Vec::with_capacity(3);
        if let Some(rows) = &self.prepend {
            parts.push(repeat(rows, batch)?);
        }
        if let Some(dynamic) = &self.dynamic {
            parts.push(dynamic.rows(x)?);
        }
        let added = parts
            .iter()
            .map(|part| part.dim(D::Minus2))
            .sum::<candle_core::Result<usize>>()?;
        parts.push(x.clone());
        Ok((Tensor::cat(&parts, 1)?, added))
    }

    /// The input of block `layer`, given the output `x` [B, T, d] of the block before, and how many rows were added.
    ///
    /// # Errors
    /// If widths do not agree, or there are fewer rows than are to be overwritten.
    pub fn before(&self, layer: usize, x: Tensor) -> Result<(Tensor, usize)> {
        let (rows, kept, added) = match self.slots.get(layer) {
            None | Some(Slot::Carry | Slot::Attend(_)) => return Ok((x, 0)),
            Some(Slot::Overwrite(rows)) => {
                let (fresh, tokens) = (rows.dim(0)?, x.dim(1)?);
                (rows, x.narrow(1, fresh, tokens.saturating_sub(fresh))?, 0)
            }
            Some(Slot::Prepend(rows)) => (rows, x, rows.dim(0)?),
        };
        let rows = repeat(rows, kept.dim(0)?)?;
        Ok((Tensor::cat(&[&rows, &kept], 1)?, added))
    }

    /// What the attention of block `layer` looks at beside the tokens.
    pub fn prefix(&self, layer: usize) -> Option<&Prefix> {
        match self.slots.get(layer)? {
            Slot::Attend(prefix) => Some(prefix),
            _ => None,
        }
    }
}

/// [n, d] to [batch, n, d].
fn repeat(rows: &Tensor, batch: usize) -> Result<Tensor> {
    let (n, d) = rows.dims2()?;
    Ok(rows.unsqueeze(0)?.broadcast_as((batch, n, d))?)
}
