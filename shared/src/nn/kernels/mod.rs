//! Owns the loops under the fused operations: flat f32 slices in, flat f32 slices out. No tensors, no shapes.

pub(super) mod attention;
pub(super) mod block;
pub(super) mod exp;
pub(super) mod gelu;
mod lanes;
pub(super) mod norm;
pub(super) mod product;
pub(super) mod rows;

pub(super) use super::values::{Values, values, with_values};
