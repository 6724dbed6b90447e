//! Owns multi-head attention on already projected queries, keys and values.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result as CandleResult, Shape, Tensor};

use super::kernels::attention::{Rows, RowsMut, Sight};
use super::{fused, kernels, repeat, wide};
use crate::error::Result;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    None,
    /// No key behind a query's own. The queries' own keys are the last ones: those before them are seen by all.
    Causal,
}

/// Keys and values in front of those of the tokens, not projected: the same for all posts, or post by post.
#[derive(Clone, Debug)]
pub struct Prefix<T = Tensor> {
    /// Keys [n, d] or [B, n, d].
    pub keys: T,
    /// Values [n, d] or [B, n, d].
    pub values: T,
}

impl Prefix {
    /// Keys and values [B, T, d] with the prefix in front, [B, n + T, d].
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn extend(&self, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let join = |rows: &Tensor, x: &Tensor| -> Result<Tensor> {
            let rows = repeat(rows, x.dim(0)?)?.to_dtype(x.dtype())?;
            Ok(Tensor::cat(&[&rows, x], 1)?)
        };
        Ok((join(&self.keys, keys)?, join(&self.values, values)?))
    }
}

/// softmax(q kᵀ / sqrt(d / heads) + mask) v, head by head: q [B, queries, d], k and v [B, keys, d], result as q.
///
/// # Errors
/// If the shapes do not agree, or there are fewer keys than queries behind a causal mask.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    if mask == Mask::Causal && keys < queries {
        return Err(crate::Error::Input(format!(
            "causal attention of {queries} queries over {keys} keys: each query needs its own key"
        )));
    }
    #[cfg(feature = "cuda")]
    if super::cuda::applies(q) {
        return Ok(super::cuda::attention::attention(q, k, v, heads, mask)?);
    }
    if !fused(q) {
        return Ok(composed(q, k, v, heads, mask)?);
    }
    for other in [k, v] {
        if other.dims3()? != (batch, keys, width) {
            return Err(crate::Error::Input(format!(
                "attention of queries {:?} over {:?}: batch and width must agree",
                q.dims(),
                other.dims()
            )));
        }
    }
    let op = Fused(kernels::attention::Shape {
        batch,
        queries,
        keys,
        width,
        heads,
        sight: match mask {
            Mask::None => Sight::All,
            Mask::Causal => Sight::Causal,
        },
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
            .map(|i| i + keys - queries)
            .flat_map(|own| (0..keys).map(move |j| if j > own { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
        let mask =
            Tensor::from_vec(hidden, (queries, keys), q.device())?.to_dtype(scores.dtype())?;
        scores = scores.broadcast_add(&mask)?;
    }
    // Sums of halves would lose what the many small ones bring.
    let weights = candle_nn::ops::softmax(&wide(&scores)?, D::Minus1)?.to_dtype(q.dtype())?;
    weights
        .matmul(&v)?
        .transpose(1, 2)?
        .reshape((batch, queries, width))
}

struct Fused(kernels::attention::Shape<'static>);

impl Fused {
    fn rows<'a>(&self, data: &'a [f32]) -> Rows<'a> {
        let stride = self.0.width;
        Rows { data, stride }
    }

    fn rows_mut<'a>(&self, data: &'a mut [f32]) -> RowsMut<'a> {
        let stride = self.0.width;
        RowsMut { data, stride }
    }
}

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
        let rows = [q, k, v].map(|data| self.rows(data));
        let mut out = vec![0f32; q.len()];
        kernels::attention::attention(self.0, rows, self.rows_mut(&mut out));
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
                        let mut slopes = [q, k, v].map(|like| vec![0f32; like.len()]);
                        kernels::attention::attention_backward(
                            self.0,
                            [q, k, v].map(|data| self.rows(data)),
                            self.rows(grad),
                            slopes.each_mut().map(|data| self.rows_mut(data)),
                        );
                        slopes
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
            (7, 11, Mask::Causal),
            (1, 4, Mask::Causal),
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

    /// Behind a causal mask the first query sees the prefix and itself, and no query what follows it.
    #[test]
    fn a_prefix_is_seen_by_all_and_the_future_by_none() {
        let rng = &mut rng::stream(5, "prefix");
        let mut draw = |shape: &[usize]| rng::normal(rng, shape, 1.0, &Device::Cpu).unwrap();
        let prefix = Prefix {
            keys: draw(&[2, 8]),
            values: draw(&[2, 8]),
        };
        let (q, k, v) = (draw(&[1, 4, 8]), draw(&[1, 4, 8]), draw(&[1, 4, 8]));
        let run = |prefix: &Prefix, k: &Tensor, v: &Tensor| {
            let (k, v) = prefix.extend(k, v).unwrap();
            let y = attention(&q, &k, &v, 2, Mask::Causal).unwrap();
            y.squeeze(0).unwrap().to_vec2::<f32>().unwrap()
        };
        let usual = run(&prefix, &k, &v);
        let other = Prefix {
            keys: prefix.keys.clone(),
            values: draw(&[2, 8]),
        };
        let changed = run(&other, &k, &v);
        assert!((0..4).all(|query| usual[query] != changed[query]));
        let later =
            |x: &Tensor, new: Tensor| Tensor::cat(&[&x.narrow(1, 0, 2).unwrap(), &new], 1).unwrap();
        let (k, v) = (later(&k, draw(&[1, 2, 8])), later(&v, draw(&[1, 2, 8])));
        let changed = run(&prefix, &k, &v);
        assert_eq!(usual[..2], changed[..2]);
        assert!((2..4).all(|query| usual[query] != changed[query]));

        let error = attention(&q, &k.narrow(1, 0, 3).unwrap(), &v, 2, Mask::Causal);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("4 queries over 3 keys")
        );
    }
}
