//! Owns a block whose weights are frozen as one operation: little is kept for its gradient, or nothing at all.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};

use super::attention::Mask;
use super::block::{Block, BlockShape};
use super::kernels::block::{Kept, Layer, Sizes, Wanted, Weights, backward, forward};
use super::kernels::{self, Values};
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::config::Activation;
use crate::error::Result;

/// What a block keeps between its forward and its backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// What is dear to compute again: queries, keys, values, and the inputs of norms and activation.
    #[default]
    Keep,
    /// Its input alone, from which the rest is computed again: half as much time again for half of the memory
    /// (docs/performance.md).
    Recompute,
}

/// Whether a block can be one operation.
pub(super) fn applies(shape: &BlockShape, norms: [&LayerNorm; 2], layers: [&Linear; 6]) -> bool {
    let trained = norms.iter().any(|norm| norm.trained()) || layers.iter().any(|l| l.trained());
    let whole = layers.iter().all(|layer| {
        layer.weight().is_contiguous() && layer.bias().is_some_and(Tensor::is_contiguous)
    });
    shape.activation == Activation::QuickGelu && !trained && whole
}

/// The tokens whose output is wanted.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    /// So many of each post are not, from the first on.
    Behind(usize),
    /// One a post, counted in the post.
    One(Vec<usize>),
}

/// The block's output for x [B, T, d]: [B, m, d] for the m wanted tokens, or [B, d] for one a post.
///
/// # Errors
/// If the width is not the block's, or a wanted token is not there.
pub(super) fn run(block: &Block, x: &Tensor, wanted: Chosen, memory: Memory) -> Result<Tensor> {
    let x = x.contiguous()?;
    let op = Frozen {
        block: block.clone(),
        wanted,
        keeps: memory == Memory::Keep && x.track_op(),
        kept: Mutex::default(),
    };
    Ok(x.apply_op1(op)?)
}

struct Frozen {
    block: Block,
    wanted: Chosen,
    keeps: bool,
    kept: Mutex<Option<Kept>>,
}

/// The tensors of a block, looked at.
struct Looked<'a> {
    norms: [[Values<'a>; 2]; 2],
    layers: [[Values<'a>; 2]; 6],
    eps: f32,
}

impl<'a> Looked<'a> {
    fn at(block: &'a Block) -> CandleResult<Self> {
        let norm = |norm: &'a LayerNorm| {
            let [weight, bias] = norm.tensors();
            Ok::<_, candle_core::Error>([Values::of(weight)?, Values::of(bias)?])
        };
        let layer = |layer: &'a Linear| match layer.bias() {
            Some(bias) => Ok([Values::of(layer.weight())?, Values::of(bias)?]),
            None => candle_core::bail!("a block's layer has no bias"),
        };
        let ([a, b], [q, k, v, o, up, down]) = block.parts();
        Ok(Self {
            norms: [norm(a)?, norm(b)?],
            layers: [
                layer(q)?,
                layer(k)?,
                layer(v)?,
                layer(o)?,
                layer(up)?,
                layer(down)?,
            ],
            eps: block.shape().eps as f32,
        })
    }

    fn weights(&self) -> Weights<'_> {
        fn of<'s>([weight, bias]: &'s [Values<'_>; 2]) -> Layer<'s> {
            Layer { weight, bias }
        }
        let [q, k, v, o, up, down] = &self.layers;
        Weights {
            norms: self.norms.each_ref().map(of),
            attention: [q, k, v, o].map(of),
            feed_forward: [up, down].map(of),
            eps: self.eps,
        }
    }
}

impl Frozen {
    fn sizes(&self, shape: &Shape) -> CandleResult<Sizes<'_>> {
        let (batch, tokens, width) = shape.dims3()?;
        let own = self.block.shape();
        if width != own.width {
            candle_core::bail!(
                "a block of width {} was given tokens of width {width}",
                own.width
            );
        }
        let wanted = match &self.wanted {
            Chosen::Behind(first) if *first < tokens => Wanted::Behind(*first),
            Chosen::One(wanted)
                if wanted.len() == batch && wanted.iter().all(|&token| token < tokens) =>
            {
                Wanted::One(wanted)
            }
            other => candle_core::bail!("tokens {other:?} are wanted of {batch} posts of {tokens}"),
        };
        Ok(Sizes {
            batch,
            tokens,
            heads: own.heads,
            causal: own.mask == Mask::Causal,
            wanted,
        })
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-block"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout.shape())?;
        let looked = Looked::at(&self.block)?;
        let (out, kept) = forward(&looked.weights(), &sizes, kernels::values(x, layout)?);
        if self.keeps {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        let width = self.block.shape().width;
        let shape = match self.wanted {
            Chosen::Behind(first) => Shape::from((sizes.batch, sizes.tokens - first, width)),
            Chosen::One(_) => Shape::from((sizes.batch, width)),
        };
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let sizes = self.sizes(x.shape())?;
        let looked = Looked::at(&self.block)?;
        let (weights, grad) = (looked.weights(), grad.contiguous()?);
        let (values, grad) = (Values::of(x)?, Values::of(&grad)?);
        // Taken, not looked at: memory is free again as soon as the pass is through the block.
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let kept = kept.unwrap_or_else(|| forward(&weights, &sizes, &values).1);
        let dx = backward(&weights, &sizes, &values, &kept, &grad);
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::{Tensors, var_builder};
    use crate::rng;

    const WIDTH: usize = 24;

    fn block(mask: Mask) -> (Block, Block) {
        let rng = &mut rng::stream(6, "block");
        let mut tensors = Tensors::new();
        let mut put = |name: &str, shape: &[usize], mean: f64| {
            let values = rng::normal(rng, shape, 0.3, &Device::Cpu).unwrap();
            tensors.insert(name.into(), (values + mean).unwrap());
        };
        for norm in ["layer_norm1", "layer_norm2"] {
            put(&format!("{norm}.weight"), &[WIDTH], 1.0);
            put(&format!("{norm}.bias"), &[WIDTH], 0.0);
        }
        for (name, inputs, outputs) in [
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", WIDTH, WIDTH),
            ("self_attn.v_proj", WIDTH, WIDTH),
            ("self_attn.out_proj", WIDTH, WIDTH),
            ("mlp.fc1", WIDTH, 40),
            ("mlp.fc2", 40, WIDTH),
        ] {
            put(&format!("{name}.weight"), &[outputs, inputs], 0.0);
            put(&format!("{name}.bias"), &[outputs], 0.0);
        }
        let shape = BlockShape {
            width: WIDTH,
            inner: 40,
            heads: 4,
            activation: Activation::QuickGelu,
            eps: 1e-5,
            mask,
        };
        let frozen = Block::load(shape, var_builder(&tensors, &Device::Cpu)).unwrap();
        // The same block of trained tensors is put together from single operations.
        let trained: Tensors = tensors
            .into_iter()
            .map(|(name, x)| (name, Var::from_tensor(&x).unwrap().into_inner()))
            .collect();
        let single = Block::load(shape, var_builder(&trained, &Device::Cpu)).unwrap();
        (frozen, single)
    }

    fn close(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    #[test]
    fn one_operation_equals_single_ones_with_gradient() {
        for mask in [Mask::None, Mask::Causal] {
            let (mut frozen, single) = block(mask);
            let x = rng::normal(&mut rng::stream(7, "x"), &[3, 7, WIDTH], 1.0, &Device::Cpu);
            let x = Var::from_tensor(&x.unwrap()).unwrap();
            let weights = rng::normal(&mut rng::stream(8, "w"), &[3, 7, WIDTH], 1.0, &Device::Cpu);
            let weights = weights.unwrap();
            for wanted in [
                Chosen::Behind(0),
                Chosen::Behind(3),
                Chosen::One(vec![0, 6, 3]),
            ] {
                let run = |block: &Block| {
                    let (y, weights) = match &wanted {
                        Chosen::Behind(first) => (
                            block.forward_behind(&x, None, *first).unwrap(),
                            weights.narrow(1, *first, 7 - first).unwrap(),
                        ),
                        Chosen::One(tokens) => (
                            block.forward_at(&x, None, tokens).unwrap(),
                            weights.narrow(1, 0, 1).unwrap().squeeze(1).unwrap(),
                        ),
                    };
                    let loss = (&y * weights).unwrap().sum_all().unwrap();
                    let slope = loss.backward().unwrap().get(&x).unwrap().clone();
                    [y, slope].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                };
                let theirs = run(&single);
                frozen.set_memory(Memory::Keep);
                let ours = run(&frozen);
                close(&ours[0], &theirs[0]);
                close(&ours[1], &theirs[1]);
                frozen.set_memory(Memory::Recompute);
                assert_eq!(run(&frozen), ours);
            }
        }
    }

    #[test]
    fn it_is_one_operation_and_says_what_does_not_fit() {
        let (frozen, _) = block(Mask::None);
        let x = Tensor::ones((2, 3, WIDTH), candle_core::DType::F32, &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let error = frozen
            .forward_at(&x, None, &[1, 3])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("[1, 3]) are wanted of 2 posts of 3"),
            "{error}"
        );
        let narrow = x.narrow(2, 0, 8).unwrap();
        let error = frozen.forward(&narrow, None).unwrap_err().to_string();
        assert!(
            error.contains("width 24 was given tokens of width 8"),
            "{error}"
        );
    }
}
