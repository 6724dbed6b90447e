//! Owns what the heads of prototypes have in common: the four learnt sets, cosines, and what losses see of prototypes.

use candle_core::{D, Tensor};

use super::Features;
use super::folded::{FoldedCase, Summand, whole};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::infer::weights::Weights;

/// Added to squared norms, so that a zero vector has cosine 0 with everything and a finite gradient.
pub(super) const NORM_GUARD: f64 = 1e-24;

/// One of the four learnt sets of decoupled prototypes, [K, D] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrototypeSet {
    /// The case of the posts it is compared with.
    pub case: Case,
    /// The modality it is compared with.
    pub modality: Modality,
    /// Its tensor's name inside the model.
    pub name: &'static str,
}

impl PrototypeSet {
    /// The name below `head.`.
    pub(super) fn short_name(&self) -> &'static str {
        self.name.strip_prefix("head.").unwrap_or(self.name)
    }
}

/// C_I, C_T, RT_I and RI_T of the paper's section 3.2.
pub const SETS: [PrototypeSet; 4] = [
    PrototypeSet {
        case: Case::Complete,
        modality: Modality::Image,
        name: "head.complete_image",
    },
    PrototypeSet {
        case: Case::Complete,
        modality: Modality::Text,
        name: "head.complete_text",
    },
    PrototypeSet {
        case: Case::TextMissing,
        modality: Modality::Image,
        name: "head.image_only",
    },
    PrototypeSet {
        case: Case::ImageMissing,
        modality: Modality::Text,
        name: "head.text_only",
    },
];

/// Prototypes as a loss sees them.
#[derive(Clone, Debug)]
pub struct ActivePrototypes {
    /// Unit vectors [A, D], or [A, 2D] where one prototype faces both features.
    pub directions: Tensor,
    /// The class of each.
    pub classes: Vec<u32>,
}

impl ActivePrototypes {
    /// Those of several sets of unit vectors, each with one row a class.
    ///
    /// # Errors
    /// If there is no set, or the tensor library fails.
    pub(super) fn of(sets: &[Tensor]) -> Result<Self> {
        if sets.is_empty() {
            return Err(Error::Input(
                "no case is given, so no prototypes are active".into(),
            ));
        }
        let mut classes = Vec::new();
        for set in sets {
            classes.extend(0..set.dim(0)? as u32);
        }
        Ok(Self {
            directions: Tensor::cat(sets, 0)?,
            classes,
        })
    }
}

/// The rows of `x` [n, D] at unit length; a zero row stays zero.
///
/// # Errors
/// If the tensor library fails.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_div(&squared_length(x)?.sqrt()?)?)
}

/// The squared lengths [n, 1] of the rows of `x` [n, D], never quite zero.
pub(super) fn squared_length(x: &Tensor) -> Result<Tensor> {
    Ok((x.sqr()?.sum_keepdim(D::Minus1)? + NORM_GUARD)?)
}

/// The cosines [n, K] of each present modality with its case's set; `directions` gives the unit vectors [K, D] of a
/// set by its place in [`SETS`].
pub(super) fn cosines(
    features: &Features,
    directions: impl Fn(usize) -> Result<Tensor>,
) -> Result<[Option<Tensor>; 2]> {
    let mut cosines = [None, None];
    for (modality, x) in features.present()? {
        let place = SETS
            .iter()
            .position(|set| set.case == features.case && set.modality == modality);
        if let Some(place) = place {
            cosines[modality as usize] = Some(unit(x)?.matmul(&directions(place)?.t()?)?);
        }
    }
    Ok(cosines)
}

/// The prototypes that posts of these cases are compared with, set by set in the order of [`SETS`]: what contrast
/// between prototypes acts on (paper, eq. 12). A run with texts missing has 3K, one with both 4K.
pub(super) fn active(
    cases: &[Case],
    directions: impl Fn(usize) -> Result<Tensor>,
) -> Result<ActivePrototypes> {
    let places = (0..SETS.len()).filter(|&place| cases.contains(&SETS[place].case));
    let sets: Vec<Tensor> = places.map(directions).collect::<Result<_>>()?;
    ActivePrototypes::of(&sets)
}

/// What a folded head does with the cosines of decoupled prototypes [K, D]; gains in the order of [`SETS`].
pub(super) fn folded_sets(
    weights: &mut Weights,
    shape: [usize; 2],
    gains: [f32; 4],
) -> Result<[FoldedCase; 3]> {
    let mut cases: [FoldedCase; 3] = Default::default();
    for (set, gain) in SETS.iter().zip(gains) {
        let weight = whole(weights, set.name, shape)?;
        let summands = &mut cases[set.case.index()].summands;
        summands[set.modality as usize] = Some(Summand { weight, gain });
    }
    Ok(cases)
}

/// What the sum of a case's cosines is multiplied by where logits are a fixed scale times their mean.
pub(super) fn mean_scale(scale: [f64; 3], case: Case) -> f64 {
    let sets = SETS.iter().filter(|set| set.case == case).count();
    scale[case.index()] / sets as f64
}

/// Says which scale is impossible, if one is.
pub(super) fn check_scale(head: &str, scale: [f64; 3]) -> Result<()> {
    match Case::ALL
        .into_iter()
        .find(|case| !(1e-3..=1e4).contains(&scale[case.index()]))
    {
        None => Ok(()),
        Some(case) => Err(Error::Input(format!(
            "head {head}: the scale of case {case} is {}; it must be 0.001 to 10000",
            scale[case.index()]
        ))),
    }
}
