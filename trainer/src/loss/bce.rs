//! Owns binary cross-entropy with logits, composed of operations that pass gradients.

use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;
use shared::Result;

/// Binary cross-entropy of each post and class: `logits` [n, K] against 0/1 `targets` [n, K] gives [n, K].
///
/// A sigmoid is a softmax against 0; written so it is stable for large logits and its gradient is exact at 0 too,
/// which a composition of `relu` and `abs` is not.
///
/// # Errors
/// If the shapes differ.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let pair = Tensor::stack(&[&logits.zeros_like()?, logits], D::Minus1)?;
    let answers = Tensor::stack(&[&(1.0 - targets)?, targets], D::Minus1)?;
    Ok((log_softmax(&pair, D::Minus1)? * answers)?
        .sum(D::Minus1)?
        .neg()?)
}
