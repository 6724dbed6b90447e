//! Owns the features of posts of one case: what the towers give and the heads read.

use candle_core::Tensor;

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
}
