//! Owns the fused operations on CUDA: kernels in CUDA C++, how they are called, and how they come onto a device.
//!
//! The kernels are compiled when the first of them is wanted, by NVRTC, for the device at hand. Kernels and calls are
//! the same without a GPU: a test compiles the kernels as C++ for the processor and makes these very calls
//! (docs/cuda.md).

#[cfg(feature = "cuda")]
pub(super) mod activation;
#[cfg(feature = "cuda")]
pub mod adamw;
#[cfg(any(test, feature = "cuda"))]
pub(super) mod attention;
pub mod call;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
pub(super) mod norm;

use candle_core::{DType, Tensor};

/// All kernels, as one text in CUDA C++ that includes nothing.
pub const SOURCE: &str = concat!(
    include_str!("common.cuh"),
    include_str!("norm.cu"),
    include_str!("softmax.cu"),
    include_str!("gelu.cu"),
    include_str!("adamw.cu"),
);

/// Whether the fused operations on CUDA apply: f32, f16 and bf16 there, in a program that is built for it.
pub(super) fn applies(x: &Tensor) -> bool {
    let known = matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16);
    cfg!(feature = "cuda") && x.device().is_cuda() && known
}
