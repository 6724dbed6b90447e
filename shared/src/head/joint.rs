//! Owns the prototypes that are not decomposed: per class and case one direction for both features together.
//!
//! The ablation of the paper's table 3. Features with a zero half are one vector f of width 2D, normalised as a whole,
//! and so is the prototype: z = cos(f, w). The half of w that faces the zero matters through the length of w alone.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::features::sum;
use super::folded::{FoldedCase, Length, Summand, halves};
use super::means::Measure;
use super::prototype::{ActivePrototypes, squared_length, unit};
use super::{Evidence, Features, FoldedHead, Head, Part, ScoreKind};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::infer::weights::Weights;
use crate::nn::{Tensors, tensor};
use crate::parameter::{Init, Parameter};

/// The joint prototypes with their tensors.
#[derive(Clone, Debug)]
pub struct JointPrototypes {
    /// [K, 2D] by case code.
    prototypes: [Tensor; 3],
    scale: [f64; 3],
    /// Whether the prototypes are unit vectors already.
    unit: bool,
}

fn name(case: Case) -> String {
    format!("head.joint.{}", case.name())
}

impl JointPrototypes {
    pub(super) fn parameters(width: usize, classes: usize) -> Vec<Parameter> {
        let init = Init::Normal((2.0 * width as f64).sqrt().recip());
        Case::ALL
            .into_iter()
            .map(|case| Parameter::new(name(case), &[classes, 2 * width], init.clone()))
            .collect()
    }

    pub(super) fn measured() -> Vec<(String, Measure)> {
        let measured = |case| (name(case), Measure::JointPrototypes(case));
        Case::ALL.into_iter().map(measured).collect()
    }

    /// The form that inference computes; see [`super::HeadPlan::folded`].
    pub(super) fn folded(
        scale: [f64; 3],
        width: usize,
        classes: usize,
        weights: &mut Weights,
    ) -> Result<FoldedHead> {
        let mut cases: [FoldedCase; 3] = Default::default();
        for (case, of) in Case::ALL.into_iter().zip(&mut cases) {
            let both = halves(weights, &name(case), [classes, width])?;
            for (modality, weight) in Modality::ALL.into_iter().zip(both) {
                of.summands[modality as usize] =
                    case.has(modality).then_some(Summand { weight, gain: 1.0 });
            }
            of.factor = scale[case.index()] as f32;
        }
        Ok(FoldedHead {
            evidence: Evidence::Cosine,
            length: Length::Both,
            centre: [None, None],
            cases,
            background: None,
        })
    }

    /// Reads the tensors; `vb` stands at `head`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(
        scale: [f64; 3],
        width: usize,
        classes: usize,
        folded: bool,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let vb = vb.pp("joint");
        let [a, b, c] = Case::ALL.map(|case| tensor(&vb, &[classes, 2 * width], case.name()));
        Ok(Self {
            prototypes: [a?, b?, c?],
            scale,
            unit: folded,
        })
    }

    fn directions(&self, case: Case) -> Result<Tensor> {
        let prototypes = &self.prototypes[case.index()];
        if self.unit {
            Ok(prototypes.clone())
        } else {
            unit(prototypes)
        }
    }
}

impl Head for JointPrototypes {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        sum(self.contributions(features)?)
    }

    fn logits(&self, case: Case, scores: &Tensor) -> Result<Tensor> {
        Ok((scores * self.scale[case.index()])?)
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        let squares = features
            .present()?
            .into_iter()
            .map(|(_, x)| squared_length(x))
            .reduce(|image, text| Ok((image? + text?)?));
        let squares = squares
            .ok_or_else(|| Error::Input("the features are of neither modality".into()))??;
        let length = squares.sqrt()?;
        features
            .map(|_, x| Ok(x.broadcast_div(&length)?))?
            .products(&self.directions(features.case)?)
    }

    fn evidence(&self) -> Evidence {
        Evidence::Cosine
    }

    fn fold(&self) -> Result<Tensors> {
        let fold = |case| Ok((name(case), self.directions(case)?.detach()));
        Case::ALL.into_iter().map(fold).collect()
    }

    fn parts(&self, _: &Features, scores: &Tensor) -> Result<Vec<Part>> {
        Ok(vec![Part::whole(scores, ScoreKind::Cosine)])
    }

    fn prototypes(&self, cases: &[Case]) -> Result<Option<ActivePrototypes>> {
        let active = Case::ALL.into_iter().filter(|case| cases.contains(case));
        let sets: Vec<Tensor> = active
            .map(|case| self.directions(case))
            .collect::<Result<_>>()?;
        ActivePrototypes::of(&sets).map(Some)
    }
}
