//! Owns what a head must know of all posts, so that classes that are taught by a few examples compete fairly with those
//! that were trained with many: measured when a bundle is made, kept beside the head.

use super::prototype::SETS;
use crate::case::Case;
use crate::error::Result;
use crate::infer::weights::{Values, Weight, Weights};

/// The tensor of the offsets.
const OFFSETS: &str = "head.background.offsets";

/// What posts of any class have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Background {
    /// The mean over classes of the means of [`super::FoldedHead::inputs`], `[D]` each, in the order of [`SETS`]; zeros
    /// where there were no posts.
    pub means: [Vec<f32>; 4],
    /// By case code, what is added to the logits of a taught class.
    pub offsets: [f32; 3],
}

impl Background {
    /// Takes out the tensors, if they are there.
    ///
    /// # Errors
    /// If one is missing or of another shape.
    pub(crate) fn take(weights: &mut Weights, width: usize) -> Result<Option<Self>> {
        if !weights.0.contains_key(OFFSETS) {
            return Ok(None);
        }
        let mut offsets = [0.0; 3];
        offsets.copy_from_slice(&weights.floats(OFFSETS, &[Case::ALL.len()])?);
        let [a, b, c, d] = [0, 1, 2, 3].map(|place| weights.floats(&name(place), &[width]));
        Ok(Some(Self {
            means: [a?, b?, c?, d?],
            offsets,
        }))
    }

    /// The tensors by their names in a bundle.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (String, Weight)> {
        let means = self.means.iter().enumerate();
        let means = means.map(|(place, mean)| (name(place), mean.clone()));
        let all = means.chain([(OFFSETS.into(), self.offsets.to_vec())]);
        all.map(|(name, values)| {
            let shape = vec![values.len()];
            (name, Weight::new(shape, Values::Float(values)))
        })
    }
}

/// The name of the mean of a set.
fn name(place: usize) -> String {
    format!("head.background.{}", SETS[place].short_name())
}
