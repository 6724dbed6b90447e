//! Owns the slots where prompts enter a tower: what every prompt method fills and every tower reads.

use candle_core::{D, Tensor};

use crate::error::Result;
use crate::nn::attention::{Mask, attention};
use crate::nn::linear::Linear;

/// The prompts of one tower for one case. Everything here is the same for all posts of the case, save the dynamic rows.
#[derive(Clone, Debug, Default)]
pub struct TowerPrompts {
    /// Rows [n, d] placed before CLS or SOT at the input of block 0, after position embedding and pre-norm.
    pub prepend: Option<Tensor>,
    /// Further rows computed from the tower's own block-0 input, placed after `prepend`.
    pub dynamic: Option<DynamicPrompt>,
    /// `replace[l]` [r, d] overwrites the first r rows at the input of block l; block 0 takes `prepend` instead.
    pub replace: Vec<Option<Tensor>>,
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

    /// Overwrites the first rows of the input `x` [B, T, d] of block `layer`, if the method says so.
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn renew(&self, layer: usize, x: Tensor) -> Result<Tensor> {
        let Some(Some(rows)) = self.replace.get(layer) else {
            return Ok(x);
        };
        let (batch, tokens, _) = x.dims3()?;
        let fresh = rows.dim(0)?;
        Ok(Tensor::cat(
            &[&repeat(rows, batch)?, &x.narrow(1, fresh, tokens - fresh)?],
            1,
        )?)
    }
}

/// [n, d] to [batch, n, d].
fn repeat(rows: &Tensor, batch: usize) -> Result<Tensor> {
    let (n, d) = rows.dims2()?;
    Ok(rows.unsqueeze(0)?.broadcast_as((batch, n, d))?)
}
