//! Owns attention of two products with the softmax between them in place: one matrix of weights a head is all it keeps.
//!
//! It works on every device; in a program it is that on CUDA. On the CPU it is slower than the fused one, and tested.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, InplaceOp1, InplaceOp2, Layout, Result, Shape, Storage,
    Tensor, bail,
};

use super::super::attention::Mask;
use super::call::Sight;

/// softmax(q kᵀ / sqrt(d / heads) + mask) v, head by head: q [B, queries, d], k and v [B, keys, d], result as q.
///
/// # Errors
/// If the shapes do not agree.
pub(in super::super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: Mask,
) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    let split = |x: &Tensor| {
        x.reshape((batch, (), heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let op = Attention {
        softmax: Softmax {
            sight: Sight {
                queries,
                keys,
                first: match mask {
                    Mask::None => keys,
                    Mask::Causal => keys - queries + 1,
                },
            },
            scale: ((width / heads) as f32).powf(-0.5),
        },
        keeps: [q, k, v].iter().any(|x| x.track_op()),
        kept: Mutex::default(),
    };
    split(q)?
        .apply_op3(&split(k)?, &split(v)?, op)?
        .transpose(1, 2)?
        .reshape((batch, queries, width))
}

/// Of q [B, heads, queries, e], k and v [B, heads, keys, e].
struct Attention {
    softmax: Softmax,
    /// Whether there will be a backward pass.
    keeps: bool,
    /// The weights [B, heads, queries, keys].
    kept: Mutex<Option<Tensor>>,
}

impl Attention {
    fn forward<B: BackendStorage>(
        &self,
        (q, q_layout): (&B, &Layout),
        (k, k_layout): (&B, &Layout),
        (v, v_layout): (&B, &Layout),
        softmax: impl Fn(&mut B, &Layout) -> Result<()>,
    ) -> Result<(B, B, Shape)> {
        let (batch, heads, queries, size) = q_layout.shape().dims4()?;
        let keys = k_layout.shape().dims4()?.2;
        let flat = batch * heads;
        let turned = k_layout.transpose(2, 3)?;
        let mut weights = q.matmul(k, (flat, queries, keys, size), q_layout, &turned)?;
        let layout = Layout::contiguous((batch, heads, queries, keys));
        softmax(&mut weights, &layout)?;
        let out = weights.matmul(v, (flat, queries, size, keys), &layout, v_layout)?;
        Ok((weights, out, q_layout.shape().clone()))
    }

    fn keep(&self, weights: Storage, q: &Layout, k: &Layout) -> Result<()> {
        if self.keeps {
            let (batch, heads, queries, _) = q.shape().dims4()?;
            let shape = (batch, heads, queries, k.shape().dims4()?.2);
            let weights = Tensor::from_storage(weights, shape, BackpropOp::none(), false);
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(weights);
        }
        Ok(())
    }

    /// The weights, for a second backward pass through the same graph.
    fn again(&self, q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let weights = q.matmul(&k.t()?)?;
        weights.inplace_op1(&self.softmax)?;
        Ok(weights)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = ((q, q_layout), (k, k_layout), (v, v_layout));
        let softmax =
            |x: &mut CpuStorage, layout: &Layout| InplaceOp1::cpu_fwd(&self.softmax, x, layout);
        let (weights, out, shape) = self.forward(q, k, v, softmax)?;
        self.keep(Storage::Cpu(weights), q_layout, k_layout)?;
        Ok((out, shape))
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        v: &CudaStorage,
        v_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (q, k, v) = ((q, q_layout), (k, k_layout), (v, v_layout));
        let softmax =
            |x: &mut CudaStorage, layout: &Layout| InplaceOp1::cuda_fwd(&self.softmax, x, layout);
        let (weights, out, shape) = self.forward(q, k, v, softmax)?;
        self.keep(Storage::Cuda(weights), q_layout, k_layout)?;
        Ok((out, shape))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (q, k, v) = (q.detach(), k.detach(), v.detach());
        let gradient = gradient.contiguous()?;
        // Taken, not looked at: memory is free again as soon as the pass is through.
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let weights = match kept {
            Some(weights) => weights,
            None => self.again(&q, &k)?,
        };
        let dv = weights.t()?.matmul(&gradient)?;
        let slopes = gradient.matmul(&v.t()?)?;
        slopes.inplace_op2(&weights, &self.softmax)?;
        drop(weights);
        let dq = slopes.matmul(&k)?;
        let dk = slopes.t()?.matmul(&q)?;
        Ok((Some(dq), Some(dk), Some(dv)))
    }
}

/// softmax(scale * scores), in place; with the weights as second argument, its gradient in place of that by the weights.
struct Softmax {
    sight: Sight,
    scale: f32,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Sight {
            queries,
            keys,
            first,
        } = self.sight;
        for (row, scores) in rows(scores, layout, keys)?.enumerate() {
            let (seen, hidden) = scores.split_at_mut((first + row % queries).min(keys));
            let most = seen.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
            for x in seen.iter_mut() {
                *x = (self.scale * (*x - most)).exp();
            }
            let sum = seen.iter().sum::<f32>();
            seen.iter_mut().for_each(|x| *x /= sum);
            hidden.fill(0.0);
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, scores: &mut CudaStorage, layout: &Layout) -> Result<()> {
        use super::{call, device};

        let (device, kind) = (scores.device().clone(), scores.dtype());
        let count = layout.shape().elem_count();
        let target = device::Target::of(scores, layout)?;
        let call = call::softmax(kind, count, self.sight, self.scale, target)?;
        device::run(&device, call)
    }
}

impl InplaceOp2 for Softmax {
    fn name(&self) -> &'static str {
        "softmax-backward"
    }

    fn cpu_fwd(
        &self,
        gradient: &mut CpuStorage,
        layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<()> {
        let keys = self.sight.keys;
        let weights = crate::nn::values::values(weights, weights_layout)?;
        for (slopes, weights) in rows(gradient, layout, keys)?.zip(weights.chunks(keys)) {
            let sum: f32 = slopes.iter().zip(weights).map(|(g, w)| g * w).sum();
            for (g, w) in slopes.iter_mut().zip(weights) {
                *g = self.scale * w * (*g - sum);
            }
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        gradient: &mut CudaStorage,
        layout: &Layout,
        weights: &CudaStorage,
        weights_layout: &Layout,
    ) -> Result<()> {
        use super::{call, device};

        let (device, kind) = (gradient.device().clone(), gradient.dtype());
        if weights.dtype() != kind {
            bail!("attention's weights and their gradient are of two types");
        }
        let width = self.sight.keys;
        let count = layout.shape().elem_count() / width.max(1);
        let source = device::Source::of(weights, weights_layout)?;
        let target = device::Target::of(gradient, layout)?;
        let rows = call::Rows { count, width };
        let call = call::softmax_backward(kind, rows, self.scale, source, target)?;
        device::run(&device, call)
    }
}

/// The rows of a contiguous storage in f32.
fn rows<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
    width: usize,
) -> Result<std::slice::ChunksMut<'a, f32>> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(values)) => Ok(values[start..end].chunks_mut(width)),
        _ => bail!("on the CPU attention is in f32"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::attention as fused;
    use crate::rng;

    #[test]
    fn products_and_softmax_equal_the_fused_attention_with_gradients() {
        let mut rng = rng::stream(9, "products");
        let mut draw = |shape: &[usize]| rng::normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap();
        for (queries, keys, mask) in [
            (9, 9, Mask::None),
            (9, 9, Mask::Causal),
            (3, 11, Mask::None),
            (7, 11, Mask::Causal),
            (1, 4, Mask::Causal),
        ] {
            let [q, k, v] =
                [queries, keys, keys].map(|rows| Var::from_tensor(&draw(&[2, rows, 24])).unwrap());
            let weights = draw(&[2, queries, 24]);
            // The gradient twice: what is kept is kept for one, and made again for the other.
            let run = |y: Tensor| {
                let loss = (&y * &weights).unwrap().sum_all().unwrap();
                let mut all = vec![y];
                for _ in 0..2 {
                    let grads = loss.backward().unwrap();
                    all.extend([&q, &k, &v].map(|v| grads.get(v).unwrap().clone()));
                }
                all.iter()
                    .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                    .collect::<Vec<_>>()
            };
            let ours = run(attention(&q, &k, &v, 4, mask).unwrap());
            let theirs = run(fused::attention(&q, &k, &v, 4, mask).unwrap());
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_needs_no_gradient_keeps_nothing() {
        let x = Tensor::ones((1, 2, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        let op = Attention {
            softmax: Softmax {
                sight: Sight {
                    queries: 2,
                    keys: 2,
                    first: 1,
                },
                scale: 0.5,
            },
            keeps: false,
            kept: Mutex::default(),
        };
        let x = x.reshape((1, 2, 2, 4)).unwrap();
        let y = x.apply_op3_no_bwd(&x, &x, &op).unwrap();
        assert_eq!(y.dims(), [1, 2, 2, 4]);
        assert!(op.kept.lock().unwrap().is_none());
    }
}
