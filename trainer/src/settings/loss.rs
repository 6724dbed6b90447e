//! Owns the settings of the loss.

use serde::{Deserialize, Serialize};

use crate::loss::arcface::Boundary;
use crate::loss::supcon::Reduction;

/// `[loss]`: margin and contrast of the heads of prototypes. Other heads use plain cross-entropy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSettings {
    /// Margin m in radians for complete, text missing, image missing (paper, eq. 9).
    pub margin: [f64; 3],
    /// How the margin changes in the course of training.
    pub margin_schedule: MarginSchedule,
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

/// The margin in the course of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginSchedule {
    /// Always m.
    #[default]
    Constant,
    /// From 0 to m, in a straight line: first the classes are told apart, then they are moved apart.
    Ramp,
    /// From m to 0, in a straight line: the margin leaves no mark on the decision threshold.
    Decay,
}

impl MarginSchedule {
    /// The share of m where `progress`, 0 to 1, of training is done.
    pub fn share(self, progress: f64) -> f64 {
        match self {
            MarginSchedule::Constant => 1.0,
            MarginSchedule::Ramp => progress,
            MarginSchedule::Decay => 1.0 - progress,
        }
    }
}

/// Which prototypes are contrasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prototypes {
    /// Those of the cases that occur in training.
    #[default]
    Active,
    /// Those of all cases.
    All,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self {
            margin: [0.1; 3],
            margin_schedule: MarginSchedule::Constant,
            boundary: Boundary::Fallback,
            contrast: 1.0,
            temperature: 1.0,
            reduction: Reduction::MeanPairs,
            prototypes: Prototypes::Active,
        }
    }
}
