//! Owns the precision in which the towers compute, and the scale that keeps gradients of halves above zero.

use anyhow::{Result, bail};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// What the frozen towers compute in. Prompts, norms after the towers, projection and head, which are trained, and the
/// optimiser's moments are f32 in all of them: the trained values are their own master copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Single precision whose products round their inputs to 10 bits: CUDA devices since Ampere have units for it.
    Tf32,
    /// Half precision with the range of single precision.
    Bf16,
    /// Half precision with 10 bits and little range; the loss is scaled.
    F16,
    /// Double precision: slow, to see what rounding does.
    F64,
}

impl Precision {
    /// The type of the towers' weights and activations.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
            Self::F64 => DType::F64,
        }
    }

    /// Tells the tensor library, for the whole process, how single precision is multiplied.
    ///
    /// # Errors
    /// If the device has no such precision.
    pub fn settle(self, device: &Device) -> Result<()> {
        if self == Self::Tf32 && !device.is_cuda() {
            bail!("train.precision = \"tf32\" is for CUDA; the CPU has \"f32\"");
        }
        candle_core::cuda::set_gemm_reduced_precision_f32(self == Self::Tf32);
        Ok(())
    }

    /// For serde: left out of a file when it is the default, so that older runs and cells stay what they are.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The factor of the loss in f16, whose smallest positive number is 6e-8: gradients are that much larger on their way
/// through the towers. It halves when they overflow, and doubles after a long time without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// A power of two.
    factor: f64,
    /// Steps since it changed.
    steady: u32,
}

/// Enough for gradients of 1e-10 to be seen; far more, and the large ones of the first steps overflow.
const FIRST: f64 = 1_024.0;
/// Steps without an overflow after which the scale doubles.
const PATIENCE: u32 = 2_000;
/// Beyond this nothing is won, and sums come near the end of f32's range.
const MOST: f64 = 16_777_216.0;

impl LossScale {
    /// The scale that a precision begins with, if it needs one.
    pub fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then_some(Self {
            factor: FIRST,
            steady: 0,
        })
    }

    /// What losses are multiplied by, and gradients divided.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// A step went well.
    pub fn held(&mut self) {
        self.steady += 1;
        if self.steady >= PATIENCE {
            (self.factor, self.steady) = ((self.factor * 2.0).min(MOST), 0);
        }
    }

    /// Gradients were not finite: the step is left out.
    ///
    /// # Errors
    /// If the scale is 1 already: then it is not to blame.
    pub fn overflowed(&mut self) -> Result<()> {
        if self.factor <= 1.0 {
            bail!(
                "gradients are not finite even without a loss scale; try a lower train.rate, or train.precision = \"bf16\""
            );
        }
        (self.factor, self.steady) = (self.factor / 2.0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_halves_at_once_and_doubles_with_patience() {
        assert_eq!(LossScale::of(Precision::Bf16), None);
        let mut scale = LossScale::of(Precision::F16).unwrap();
        scale.overflowed().unwrap();
        assert_eq!(scale.factor(), 512.0);
        for _ in 1..PATIENCE {
            scale.held();
        }
        assert_eq!(scale.factor(), 512.0);
        scale.held();
        assert_eq!(scale.factor(), 1_024.0);
        let error = std::iter::repeat_with(|| scale.overflowed()).find_map(Result::err);
        assert!(error.unwrap().to_string().contains("bf16"));
        assert_eq!(scale.factor(), 1.0);
    }
}
