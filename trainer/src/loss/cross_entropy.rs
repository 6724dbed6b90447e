//! Owns softmax cross-entropy, composed of operations that pass gradients.

use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;
use shared::Result;

/// Cross-entropy of each post: `logits` [n, K] against one-hot `targets` [n, K] gives `[n]`.
///
/// # Errors
/// If the shapes differ.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok((log_softmax(logits, D::Minus1)? * targets)?
        .sum(D::Minus1)?
        .neg()?)
}
