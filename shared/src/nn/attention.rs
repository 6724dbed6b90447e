//! Owns multi-head attention on already projected queries, keys and values.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result as CandleResult, Shape, Tensor};

use super::{fused, kernels};
use crate::error::Result;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    None,
    /// Query i sees keys 0..=i.
    Causal,
}

/// softmax(q kᵀ / sqrt(d / heads) + mask) v, head by head: q [B, queries, d], k and v [B, keys, d], result as q.
///
/// # Errors
/// If the shapes do not agree.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    if !fused(q) {
        return Ok(composed(q, k, v, heads, mask)?);
    }
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    for other in [k, v] {
        if other.dims3()? != (batch, keys, width) {
            return Err(crate::Error::Input(format!(
                "attention of queries {:?} over {:?}: batch and width must agree",
                q.dims(),
                other.dims()
            )));
        }
    }
    let causal = mask == Mask::Causal;
    let op = Fused(kernels::attention::Shape {
        batch,
        queries,
        keys,
        width,
        heads,
        causal,
    });
    Ok(q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)?)
}

fn composed(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> CandleResult<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let split = |x: &Tensor| {
        x.reshape((batch, (), heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let mut scores = (q.matmul(&k.t()?)? * ((width / heads) as f64).powf(-0.5))?;
    if mask == Mask::Causal {
        let keys = k.dim(2)?;
        let hidden: Vec<f32> = (0..queries)
            .flat_map(|i| (0..keys).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
        let mask =
            Tensor::from_vec(hidden, (queries, keys), q.device())?.to_dtype(scores.dtype())?;
        scores = scores.broadcast_add(&mask)?;
    }
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    weights
        .matmul(&v)?
        .transpose(1, 2)?
        .reshape((batch, queries, width))
}

struct Fused(kernels::attention::Shape);

impl CustomOp3 for Fused {
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
    ) -> CandleResult<(CpuStorage, Shape)> {
        let q = kernels::values(q, q_layout)?;
        let (k, v) = (kernels::values(k, k_layout)?, kernels::values(v, v_layout)?);
        let out = kernels::attention::attention(self.0, q, k, v);
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dq, dk, dv] = kernels::with_values(q, |q| {
            kernels::with_values(k, |k| {
                kernels::with_values(v, |v| {
                    kernels::with_values(grad, |grad| {
                        kernels::attention::attention_backward(self.0, (q, k, v), grad)
                    })
                })
            })
        })????;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((
            Some(tensor(dq, q)?),
            Some(tensor(dk, k)?),
            Some(tensor(dv, v)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng;

    #[test]
    fn fused_equals_composed_with_gradients() {
        let mut rng = rng::stream(4, "attention");
        let mut var = |shape: &[usize]| {
            Var::from_tensor(&rng::normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap()).unwrap()
        };
        for (queries, keys, mask) in [
            (9, 9, Mask::None),
            (9, 9, Mask::Causal),
            (3, 11, Mask::None),
        ] {
            let (q, k, v) = (
                var(&[2, queries, 24]),
                var(&[2, keys, 24]),
                var(&[2, keys, 24]),
            );
            let run = |y: Tensor| {
                let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let mut all = vec![y];
                all.extend([&q, &k, &v].map(|v| grads.get(v).unwrap().clone()));
                all.iter()
                    .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                    .collect::<Vec<_>>()
            };
            let (q, k, v) = (q.as_tensor(), k.as_tensor(), v.as_tensor());
            let ours = run(attention(q, k, v, 4, mask).unwrap());
            let theirs = run(composed(q, k, v, 4, mask).unwrap());
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }
}
