//! Owns the activations of the feed-forward blocks.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};

use super::kernels::gelu::NO_BIAS;
use super::{cuda, fused, kernels};
use crate::config::Activation;
use crate::error::Result;

impl Activation {
    /// Applies the activation to each value.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::QuickGelu => quick_gelu(x),
            Activation::Gelu => gelu(x),
        }
    }
}

/// `x * sigmoid(1.702 x)` (method: section 1).
///
/// # Errors
/// If the tensor library fails.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if fused(x) || cuda::applies(x) {
        return Ok(x.contiguous()?.apply_op1(QuickGelu)?);
    }
    Ok(quick_gelu_composed(x)?)
}

/// The exact GELU, `x * Phi(x)`.
///
/// # Errors
/// If the tensor library fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    Ok(x.gelu_erf()?)
}

fn quick_gelu_composed(x: &Tensor) -> CandleResult<Tensor> {
    x * candle_nn::ops::sigmoid(&(x * 1.702)?)?
}

struct QuickGelu;

impl CustomOp1 for QuickGelu {
    fn name(&self) -> &'static str {
        "quick-gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let x = kernels::values(x, layout)?;
        let mut out = vec![0f32; x.len()];
        kernels::gelu::quick_gelu(x, &NO_BIAS, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> CandleResult<(candle_core::CudaStorage, Shape)> {
        cuda::activation::quick_gelu(x, layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if cuda::applies(x) {
            return Ok(Some(cuda::activation::quick_gelu_backward(x, grad)?));
        }
        let out = kernels::with_values(x, |x| {
            kernels::with_values(grad, |grad| {
                let mut out = grad.to_vec();
                kernels::gelu::quick_gelu_backward(x, &NO_BIAS, &mut out);
                out
            })
        })??;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng;

    #[test]
    fn fused_equals_composed_with_gradient() {
        let mut rng = rng::stream(1, "activation");
        let x =
            Var::from_tensor(&rng::normal(&mut rng, &[7, 33], 3.0, &Device::Cpu).unwrap()).unwrap();
        let run = |f: &dyn Fn(&Tensor) -> Tensor| {
            let y = f(x.as_tensor());
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [
                y.flatten_all().unwrap(),
                grads.get(&x).unwrap().flatten_all().unwrap(),
            ]
            .map(|t| t.to_vec1::<f32>().unwrap())
        };
        let (ours, theirs) = (
            run(&|x| quick_gelu(x).unwrap()),
            run(&|x| quick_gelu_composed(x).unwrap()),
        );
        for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}
