//! Owns how a head tells training what to hold against the answers.

use candle_core::Tensor;

/// What the numbers of a [`Part`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreKind {
    /// Logits: they meet softmax or sigmoid as they are.
    Logit,
    /// Cosines: true classes get an angular margin, and `Head::logits` makes logits of them.
    Cosine,
}

/// One of the weighted sets of scores that a head is trained on.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its share of the loss.
    pub weight: f64,
    /// [n, K].
    pub scores: Tensor,
    /// What they are.
    pub kind: ScoreKind,
}

impl Part {
    /// The only part of a head.
    pub(super) fn whole(scores: &Tensor, kind: ScoreKind) -> Self {
        Self {
            weight: 1.0,
            scores: scores.clone(),
            kind,
        }
    }
}
