//! Owns the settings of the loss.

use serde::{Deserialize, Serialize};

use crate::loss::arcface::Boundary;
use crate::loss::supcon::Reduction;

/// `[loss]`: the decoupled prototype head's margin and contrast. Other heads use plain cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSettings {
    /// Margin m in radians for complete, text missing, image missing (paper, eq. 9).
    pub margin: [f64; 3],
    /// What happens where angle + margin exceeds pi.
    pub boundary: Boundary,
    /// Weight lambda of the contrast between prototypes (paper, eq. 13).
    pub contrast: f64,
    /// Its temperature tau.
    pub temperature: f64,
    /// Mean over pairs, or the paper's sum.
    pub reduction: Reduction,
    /// The prototypes that take part.
    pub prototypes: Prototypes,
}

/// Which prototypes are contrasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prototypes {
    /// Those of the cases that occur in training.
    #[default]
    Active,
    /// All four sets.
    All,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self {
            margin: [0.1; 3],
            boundary: Boundary::Fallback,
            contrast: 1.0,
            temperature: 1.0,
            reduction: Reduction::MeanPairs,
            prototypes: Prototypes::Active,
        }
    }
}
