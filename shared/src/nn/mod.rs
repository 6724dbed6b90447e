//! Owns the differentiable building blocks of the towers.
//!
//! Every operation here passes gradients. candle's fused layer norm and softmax do not (they end in `*_no_bwd`), and
//! its products form gradients for frozen weights too; so on the CPU, and on CUDA, the blocks are fused operations of our own
//! with a backward pass, and elsewhere they are composed of candle's differentiable ones.

pub mod activation;
pub mod attention;
pub mod block;
pub mod cuda;
pub mod frozen;
mod kernels;
pub mod linear;
pub mod norm;
pub mod values;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

/// Named tensors in the order of their names.
pub type Tensors = BTreeMap<String, Tensor>;

/// A builder that hands out these very tensors: a trainable one stays linked to its variable.
pub fn var_builder(tensors: &Tensors, device: &Device) -> VarBuilder<'static> {
    let map = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    VarBuilder::from_tensors(map, DType::F32, device)
}

/// The tensor `name` of `vb`, with the full name in the error if it is missing or of another shape.
///
/// # Errors
/// If the tensor is missing or its shape is not `shape`.
pub fn tensor(vb: &VarBuilder<'_>, shape: &[usize], name: &str) -> crate::Result<Tensor> {
    vb.get(shape, name).map_err(|error| {
        let full = if vb.prefix().is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", vb.prefix())
        };
        let message = match error {
            candle_core::Error::UnexpectedShape { expected, got, .. } => {
                format!("the configuration demands shape {expected:?}, the file has {got:?}")
            }
            error if vb.contains_tensor(name) => error.to_string(),
            _ => format!("is missing; the configuration demands it with shape {shape:?}"),
        };
        crate::Error::Tensor {
            name: full,
            message,
        }
    })
}

/// Whether the fused operations apply: f32 on the CPU. `contiguous` is theirs to ensure.
fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Halves in f32, for sums; what is wider stays.
fn wide(x: &Tensor) -> candle_core::Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// Rows [n, d] to [batch, n, d]; those that are [batch, n, d] stay.
pub(crate) fn repeat(rows: &Tensor, batch: usize) -> crate::Result<Tensor> {
    if rows.rank() == 3 {
        return Ok(rows.clone());
    }
    let (n, d) = rows.dims2()?;
    Ok(rows.unsqueeze(0)?.broadcast_as((batch, n, d))?)
}
