//! Owns QuickGELU on CUDA: the calls of its kernels, forward and backward.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::call;
use super::device::{Source, filled};

/// x * sigmoid(1.702 x).
///
/// # Errors
/// If `x` is not contiguous, or there is no kernel for its type.
pub(in super::super) fn quick_gelu(
    x: &CudaStorage,
    layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let (shape, kind) = (layout.shape(), x.dtype());
    let source = Source::of(x, layout)?;
    filled(x.device(), shape, kind, |y| {
        call::quick_gelu(kind, shape.elem_count(), source, y)
    })
}

/// The gradient by x.
///
/// # Errors
/// If the gradient is of another type than `x`, or there is no kernel for it.
pub(in super::super) fn quick_gelu_backward(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    x.detach().apply_op2(&gradient.contiguous()?, Backward)
}

struct Backward;

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "quick-gelu-backward"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this backward pass of QuickGELU is that on CUDA")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (shape, kind) = (x_layout.shape(), x.dtype());
        if gradient.dtype() != kind {
            bail!(
                "QuickGELU's input is {kind:?} and its gradient {:?}; they must be of one type",
                gradient.dtype()
            );
        }
        let given = [
            Source::of(x, x_layout)?,
            Source::of(gradient, gradient_layout)?,
        ];
        filled(x.device(), shape, kind, |dx| {
            call::quick_gelu_backward(kind, shape.elem_count(), given, dx)
        })
    }
}
