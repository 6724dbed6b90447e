//! Owns the description of the output heads as data.

use serde::{Deserialize, Serialize};

/// Which output head is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadConfig {
    /// One linear layer on both features, a missing half set to zero: the default head of DCP, and the baseline.
    Linear,
    /// The linear layer mixed with a second one on channel-adjusted features (DePT).
    Dept(DeptConfig),
    /// Decoupled prototypes: one per class, case and modality.
    Dpl(DplConfig),
    /// Decoupled prototypes, extended.
    DplPlus(DplPlusConfig),
}

/// What inference needs to know of the head with channel-adjusted transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeptConfig {
    /// Weight lambda of the second layer in logits and loss, 0 to 1; the first layer has the rest.
    pub mix: f64,
}

impl Default for DeptConfig {
    fn default() -> Self {
        Self { mix: 0.7 }
    }
}

/// What inference needs to know of the decoupled prototype head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DplConfig {
    /// Scale s of the cosines by case code (paper, eq. 9).
    pub scale: [f64; 3],
    /// False for the ablation of the paper's table 3: one prototype per class and case on both features together.
    pub decomposed: bool,
}

impl Default for DplConfig {
    fn default() -> Self {
        Self {
            scale: [30.0; 3],
            decomposed: true,
        }
    }
}

/// What inference needs to know of the extended decoupled prototypes. Without any of the four extensions they are the
/// plain ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DplPlusConfig {
    /// Scale s of the cosines by case code; where scales are learnt, they start so that they add up to it.
    pub scale: [f64; 3],
    /// A learnt scale for each case and modality: the weight of a modality and the temperature at once.
    pub learn_scale: bool,
    /// A learnt bias for each case and class.
    pub bias: bool,
    /// The prototypes of one modality in its two cases have a learnt part in common.
    pub share: bool,
    /// The weight of what a case has for itself beside the common part, 0 (cases are alike) to 1. Below 1 a step of the
    /// optimiser moves the common part further than the cases apart, so that few posts are not split among cases.
    pub residual: f64,
    /// The mean of the training posts is taken off the features of each modality before they are normalised.
    pub centre: bool,
}

impl Default for DplPlusConfig {
    fn default() -> Self {
        Self {
            scale: [16.0; 3],
            learn_scale: true,
            bias: true,
            share: true,
            residual: 0.1,
            centre: false,
        }
    }
}
