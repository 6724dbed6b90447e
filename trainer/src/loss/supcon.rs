//! Owns the supervised contrastive loss between prototypes (paper, eq. 12): those of one class attract each other.

use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;
use serde::{Deserialize, Serialize};
use shared::Result;

/// How the pairs are summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Mean over the pairs of one class: its size does not depend on the number of classes.
    #[default]
    MeanPairs,
    /// The sum, as printed in the paper; the weight must then be a thousandth or less.
    Sum,
}

/// The loss over unit vectors `prototypes` [n, D] with a class each, at temperature `tau`.
///
/// The paper's sum over l ≠ k is empty with one prototype a class; it is taken over all prototypes that are not zero
/// by definition, whichever case and modality they belong to.
///
/// # Errors
/// If `classes` does not have one entry per row.
pub fn supervised_contrastive(
    prototypes: &Tensor,
    classes: &[u32],
    tau: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    let count = classes.len();
    let device = prototypes.device();
    // The prototype itself is neither a positive nor in the denominator.
    let own = (Tensor::eye(count, prototypes.dtype(), device)? * -1e30)?;
    let similarity = ((prototypes.matmul(&prototypes.t()?)? / tau)? + own)?;
    let same = |a: usize, b: usize| {
        if a != b && classes[a] == classes[b] {
            1f32
        } else {
            0.0
        }
    };
    let positive: Vec<f32> = (0..count * count)
        .map(|i| same(i / count, i % count))
        .collect();
    let pairs: f32 = positive.iter().sum();
    let positive =
        Tensor::from_vec(positive, (count, count), device)?.to_dtype(prototypes.dtype())?;
    let sum = (log_softmax(&similarity, D::Minus1)? * positive)?
        .sum_all()?
        .neg()?;
    match reduction {
        Reduction::Sum => Ok(sum),
        Reduction::MeanPairs => Ok((sum / f64::from(pairs.max(1.0)))?),
    }
}
