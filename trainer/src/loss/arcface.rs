//! Owns the angular margin of the decoupled prototypes (paper, eqs. 8-11): phi, and its two losses.

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use shared::Result;

use super::bce::binary_cross_entropy;
use super::cross_entropy::cross_entropy;

/// What happens beyond angle + margin = pi, where the cosine would rise again; the paper is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// ArcFace's usual `z - m sin m`: stays monotonic.
    #[default]
    Fallback,
    /// The formula as printed.
    Literal,
}

/// Scale and margin of one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// The scale s of the cosines.
    pub scale: f64,
    /// The margin m in radians.
    pub margin: f64,
    /// The branch beyond pi.
    pub boundary: Boundary,
}

impl Margin {
    /// `phi(z) = cos(arccos z + m)`, elementwise. The cosine is kept 1e-7 away from ±1, where the slope is infinite;
    /// a mean of two cosines (complete posts) is taken for the cosine of one angle, as the paper does.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn phi(&self, cosines: &Tensor) -> Result<Tensor> {
        let margin = self.margin;
        if margin == 0.0 {
            return Ok(cosines.clone());
        }
        let z = cosines.clamp(-1.0 + 1e-7, 1.0 - 1e-7)?;
        // (1 - z)(1 + z) keeps the digits that 1 - z² loses near ±1.
        let sine = ((1.0 - &z)? * (1.0 + &z)?)?.sqrt()?;
        let literal = ((&z * margin.cos())? - (sine * margin.sin())?)?;
        match self.boundary {
            Boundary::Literal => Ok(literal),
            Boundary::Fallback => {
                let within = z.gt((std::f64::consts::PI - margin).cos())?;
                Ok(within.where_cond(&literal, &(&z - margin * margin.sin())?)?)
            }
        }
    }

    /// The logits seen by the loss: `s phi(z)` where the target is 1, `s z` elsewhere.
    fn logits(&self, cosines: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let chosen = targets.gt(0.5)?.where_cond(&self.phi(cosines)?, cosines)?;
        Ok((chosen * self.scale)?)
    }

    /// Cross-entropy with the margin on the target class: cosines [n, K], one-hot targets [n, K], losses `[n]`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn multi_class(&self, cosines: &Tensor, targets: &Tensor) -> Result<Tensor> {
        cross_entropy(&self.logits(cosines, targets)?, targets)
    }

    /// Binary cross-entropy with the margin on the positive classes, summed over the classes: losses `[n]`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn multi_label(&self, cosines: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(binary_cross_entropy(&self.logits(cosines, targets)?, targets)?.sum(D::Minus1)?)
    }
}
