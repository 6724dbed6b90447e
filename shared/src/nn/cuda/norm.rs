//! Owns layer normalisation on CUDA: the calls of its kernels, forward and backward.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::call::{self, Rows};
use super::device::{Source, filled};

/// The norm of x [.., width] with weight and bias `[width]`, which are of the type of `x` or f32.
///
/// # Errors
/// If a tensor is not contiguous, or there is no kernel for the types.
pub(in super::super) fn forward(
    eps: f32,
    (x, x_layout): (&CudaStorage, &Layout),
    (weight, weight_layout): (&CudaStorage, &Layout),
    (bias, bias_layout): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let shape = x_layout.shape();
    let kinds = kinds(x, weight)?;
    if bias.dtype() != weight.dtype() {
        bail!(
            "a norm's weight is {:?} and its bias {:?}; they must be of one type",
            weight.dtype(),
            bias.dtype()
        );
    }
    let given = [
        Source::of(x, x_layout)?,
        Source::of(weight, weight_layout)?,
        Source::of(bias, bias_layout)?,
    ];
    filled(x.device(), shape, x.dtype(), |y| {
        call::layer_norm(kinds, rows(shape), eps, given, y)
    })
}

/// The gradients by x, and by weight and bias if these are trained.
///
/// # Errors
/// If there is no kernel for the types.
pub(in super::super) fn backward(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    gradient: &Tensor,
    eps: f32,
    parameters: bool,
) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
    let gradient = gradient.contiguous()?;
    let (x, weight) = (x.detach(), weight.detach());
    let dx = x.apply_op3(&weight, &gradient, ByInput(eps))?;
    if !parameters {
        return Ok((Some(dx), None, None));
    }
    let both = x.apply_op2(&gradient, ByParameters(eps))?;
    let one = |place, like: &Tensor| both.get(place)?.to_dtype(like.dtype());
    Ok((Some(dx), Some(one(0, &weight)?), Some(one(1, bias)?)))
}

fn rows(shape: &Shape) -> Rows {
    let width = shape.dims().last().copied().unwrap_or(1);
    let count = shape.elem_count() / width.max(1);
    Rows { count, width }
}

/// The types of x and of the weights, if a kernel has both.
fn kinds(x: &CudaStorage, weight: &CudaStorage) -> Result<[DType; 2]> {
    let kinds = [x.dtype(), weight.dtype()];
    if kinds[1] != kinds[0] && kinds[1] != DType::F32 {
        bail!(
            "a norm's input is {:?} and its weight {:?}; the weight must be of the same type or f32",
            kinds[0],
            kinds[1]
        );
    }
    Ok(kinds)
}

/// Of x, weight and gradient.
struct ByInput(f32);

impl CustomOp3 for ByInput {
    fn name(&self) -> &'static str {
        "layer-norm-backward"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("this backward pass of layer normalisation is that on CUDA")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = x_layout.shape();
        let given = [
            Source::of(x, x_layout)?,
            Source::of(weight, weight_layout)?,
            Source::of(gradient, gradient_layout)?,
        ];
        let kinds = kinds(x, weight)?;
        same_type(x, gradient)?;
        filled(x.device(), shape, x.dtype(), |dx| {
            call::layer_norm_backward(kinds, rows(shape), self.0, given, dx)
        })
    }
}

/// Of x and gradient; the result is [2, width] in f32.
struct ByParameters(f32);

impl CustomOp2 for ByParameters {
    fn name(&self) -> &'static str {
        "layer-norm-parameters"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("these gradients of layer normalisation are those on CUDA")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (device, rows, kind) = (x.device(), rows(x_layout.shape()), x.dtype());
        same_type(x, gradient)?;
        let source = Source::of(x, x_layout)?;
        let (found, _) = filled(device, &(rows.count, 2).into(), DType::F32, |found| {
            call::layer_norm_statistics(kind, rows, self.0, source, found)
        })?;
        let given = [
            Source::of(x, x_layout)?,
            Source::all(&found),
            Source::of(gradient, gradient_layout)?,
        ];
        let shape = (2 * call::layer_norm_parts(rows), rows.width).into();
        let (parts, _) = filled(device, &shape, DType::F32, |parts| {
            call::layer_norm_columns(kind, rows, given, parts)
        })?;
        let parts = Source::all(&parts);
        filled(device, &(2, rows.width).into(), DType::F32, |total| {
            call::layer_norm_total(rows, parts, total)
        })
    }
}

fn same_type(x: &CudaStorage, gradient: &CudaStorage) -> Result<()> {
    if x.dtype() != gradient.dtype() {
        bail!(
            "a norm's input is {:?} and its gradient {:?}; they must be of one type",
            x.dtype(),
            gradient.dtype()
        );
    }
    Ok(())
}
