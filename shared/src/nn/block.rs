//! Owns one pre-norm transformer block of CLIP, with Hugging Face tensor names.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::attention::{Mask, Prefix, attention};
use super::frozen::{self, Chosen, Memory};
use super::fused;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::config::{Activation, TextConfig, VisionConfig};
use crate::error::Result;

/// Sizes of a tower's blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Width d.
    pub width: usize,
    /// Width of the feed-forward part.
    pub inner: usize,
    /// Attention heads.
    pub heads: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
    /// Epsilon of the norms.
    pub eps: f64,
    /// Which tokens a token sees.
    pub mask: Mask,
}

impl From<&VisionConfig> for BlockShape {
    fn from(config: &VisionConfig) -> Self {
        Self {
            width: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            mask: Mask::None,
        }
    }
}

impl From<&TextConfig> for BlockShape {
    fn from(config: &TextConfig) -> Self {
        Self {
            width: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            mask: Mask::Causal,
        }
    }
}

/// x + attention(norm x), then x + feed-forward(norm x).
#[derive(Clone, Debug)]
pub struct Block {
    shape: BlockShape,
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    /// Whether it can be one operation, and what that keeps.
    frozen: bool,
    memory: Memory,
}

impl Block {
    /// Reads `layer_norm1`, `self_attn.{q,k,v,out}_proj`, `layer_norm2`, `mlp.fc1`, `mlp.fc2`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(shape: BlockShape, vb: VarBuilder<'_>) -> Result<Self> {
        let BlockShape {
            width, inner, eps, ..
        } = shape;
        let projection = |name: &str| Linear::load(width, width, true, vb.pp("self_attn").pp(name));
        let mut block = Self {
            shape,
            norm1: LayerNorm::load(width, eps, vb.pp("layer_norm1"))?,
            query: projection("q_proj")?,
            key: projection("k_proj")?,
            value: projection("v_proj")?,
            output: projection("out_proj")?,
            norm2: LayerNorm::load(width, eps, vb.pp("layer_norm2"))?,
            up: Linear::load(width, inner, true, vb.pp("mlp.fc1"))?,
            down: Linear::load(inner, width, true, vb.pp("mlp.fc2"))?,
            frozen: false,
            memory: Memory::default(),
        };
        let (norms, layers) = block.parts();
        block.frozen = frozen::applies(&shape, norms, layers);
        Ok(block)
    }

    /// The block's sizes.
    pub fn shape(&self) -> &BlockShape {
        &self.shape
    }

    /// What a frozen block keeps for its gradient from now on.
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// The two norms; queries, keys, values, output, up, down.
    pub(super) fn parts(&self) -> ([&LayerNorm; 2], [&Linear; 6]) {
        let layers = [
            &self.query,
            &self.key,
            &self.value,
            &self.output,
            &self.up,
            &self.down,
        ];
        ([&self.norm1, &self.norm2], layers)
    }

    /// x [B, T, d] to [B, T, d]; the attention also looks at `prefix`, if there is one.
    ///
    /// # Errors
    /// If the shape of `x` or of the prefix does not fit.
    pub fn forward(&self, x: &Tensor, prefix: Option<&Prefix>) -> Result<Tensor> {
        self.forward_behind(x, prefix, 0)
    }

    /// What [`Block::forward`] gives without the first tokens of each post, [B, T - first, d]: what overwrites these in the
    /// next block's input needs no more.
    ///
    /// # Errors
    /// If the shape of `x` or of the prefix does not fit, or there are no other tokens.
    pub fn forward_behind(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        first: usize,
    ) -> Result<Tensor> {
        if self.frozen && prefix.is_none() && fused(x) {
            return frozen::run(self, x, Chosen::Behind(first), self.memory);
        }
        let y = self.feed_forward(x, &self.attend(x, prefix)?)?;
        Ok(match first {
            0 => y,
            _ => y.narrow(1, first, y.dim(1)?.saturating_sub(first))?,
        })
    }

    /// What [`Block::forward`] gives at one token of each post only, [B, d]; `tokens` are their places in the posts.
    /// The last block of a tower needs no more.
    ///
    /// # Errors
    /// If the shape of `x` or of the prefix does not fit, or there is no such token.
    pub fn forward_at(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        tokens: &[usize],
    ) -> Result<Tensor> {
        if self.frozen && prefix.is_none() && fused(x) {
            return frozen::run(self, x, Chosen::One(tokens.to_vec()), self.memory);
        }
        let length = x.dim(1)?;
        let rows = tokens.iter().enumerate();
        let rows: Vec<u32> = rows
            .map(|(post, token)| (post * length + token) as u32)
            .collect();
        let rows = Tensor::new(rows, x.device())?;
        let pick = |x: &Tensor| x.flatten(0, 1)?.index_select(&rows, 0);
        self.feed_forward(&pick(x)?, &pick(&self.attend(x, prefix)?)?)
    }

    fn attend(&self, x: &Tensor, prefix: Option<&Prefix>) -> Result<Tensor> {
        let x = self.norm1.forward(x)?;
        let (q, k, v) = (
            self.query.forward(&x)?,
            self.key.forward(&x)?,
            self.value.forward(&x)?,
        );
        let (k, v) = match prefix {
            Some(prefix) => prefix.extend(&k, &v)?,
            None => (k, v),
        };
        attention(&q, &k, &v, self.shape.heads, self.shape.mask)
    }

    fn feed_forward(&self, x: &Tensor, attended: &Tensor) -> Result<Tensor> {
        let x = (x + self.output.forward(attended)?)?;
        let inner = self
            .shape
            .activation
            .forward(&self.up.forward(&self.norm2.forward(&x)?)?)?;
        Ok((&x + self.down.forward(&inner)?)?)
    }
}
