//! Owns the angular margin of prototypes (paper, eqs. 8-11): phi, on the true classes.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use shared::Result;

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

/// The margin of one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
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

    /// The cosines [n, K] seen by the loss: `phi(z)` where the target [n, K] is 1, `z` elsewhere.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn on_targets(&self, cosines: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(targets.gt(0.5)?.where_cond(&self.phi(cosines)?, cosines)?)
    }
}
