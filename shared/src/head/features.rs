//! Owns the features of posts of one case: what the towers give and the heads read.

use candle_core::{D, Tensor};

use crate::case::{Case, Modality};
use crate::error::{Error, Result};

/// Projected, un-normalised features of n posts that share a case.
#[derive(Clone, Debug)]
pub struct Features {
    /// The case of all these posts.
    pub case: Case,
    /// Image features [n, D], present if the case has images.
    pub image: Option<Tensor>,
    /// Text features [n, D], present if the case has texts.
    pub text: Option<Tensor>,
}

impl Features {
    /// One modality's features, if the case has them.
    pub fn get(&self, modality: Modality) -> Option<&Tensor> {
        match modality {
            Modality::Image => self.image.as_ref(),
            Modality::Text => self.text.as_ref(),
        }
        .filter(|_| self.case.has(modality))
    }

    /// The features the case has, image first.
    ///
    /// # Errors
    /// If the features of a modality that the case has are absent.
    pub fn present(&self) -> Result<Vec<(Modality, &Tensor)>> {
        let modalities = Modality::ALL
            .into_iter()
            .filter(|modality| self.case.has(*modality));
        modalities
            .map(|modality| {
                let features = self.get(modality).ok_or_else(|| {
                    Error::Input(format!(
                        "posts of case {} lack {} features",
                        self.case,
                        modality.name()
                    ))
                })?;
                Ok((modality, features))
            })
            .collect()
    }

    /// These posts with each present modality's features changed by `change`.
    ///
    /// # Errors
    /// If the features of a modality that the case has are absent, or `change` fails.
    pub fn map(&self, change: impl Fn(Modality, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let [mut image, mut text] = [None, None];
        for (modality, x) in self.present()? {
            let changed = Some(change(modality, x)?);
            match modality {
                Modality::Image => image = changed,
                Modality::Text => text = changed,
            }
        }
        Ok(Self {
            case: self.case,
            image,
            text,
        })
    }

    /// Each present modality's summand [n, K] of `concat(h_I, h_T) weightᵀ` with the missing half zero: `weight`
    /// [K, 2D] has image columns, then text columns. A zero half adds nothing, so it is not formed.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    pub fn products(&self, weight: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let mut parts = [None, None];
        for (modality, x) in self.present()? {
            let columns = half(weight, modality)?;
            parts[modality as usize] = Some(x.matmul(&columns.t()?)?);
        }
        Ok(parts)
    }
}

/// One modality's half of the last dimension of `both` [.., 2D]: image, then text.
///
/// # Errors
/// If the tensor library fails.
pub fn half(both: &Tensor, modality: Modality) -> Result<Tensor> {
    let width = both.dim(D::Minus1)? / 2;
    Ok(both
        .narrow(D::Minus1, modality as usize * width, width)?
        .contiguous()?)
}

/// The sum of the modalities' parts that there are.
///
/// # Errors
/// If there is none, or their shapes differ.
pub fn sum(parts: [Option<Tensor>; 2]) -> Result<Tensor> {
    match parts {
        [Some(image), Some(text)] => Ok((image + text)?),
        [Some(only), None] | [None, Some(only)] => Ok(only),
        [None, None] => Err(Error::Input("the features are of neither modality".into())),
    }
}
