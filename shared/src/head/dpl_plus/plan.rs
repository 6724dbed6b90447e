//! Owns what the settings of the extended prototypes say: tensors, shapes, first values, and what is measured.

use candle_nn::VarBuilder;

use super::DplPlus;
use crate::case::{Case, Modality};
use crate::config::DplPlusConfig;
use crate::error::{Error, Result};
use crate::head::folded::Length;
use crate::head::means::Measure;
use crate::head::prototype::{SETS, check_scale, folded_sets, mean_scale};
use crate::head::{Evidence, FoldedHead, Head, HeadPlan, HeadTensors};
use crate::infer::weights::Weights;
use crate::parameter::{Init, Parameter};

/// The parts that the two sets of a modality have in common, [K, D].
pub(super) const BASE: [&str; 2] = ["head.base.image", "head.base.text"];
/// Logarithms of the learnt scales over where they start, `[4]`, in the order of [`SETS`].
pub(super) const LOG_SCALE: &str = "head.log_scale";
/// The learnt scales, folded, `[4]`.
pub(super) const SCALE: &str = "head.scale";

impl DplPlusConfig {
    /// Where the learnt scale of a set starts: the sets of a case add up to the case's scale.
    pub(super) fn start(&self, place: usize) -> f64 {
        mean_scale(self.scale, SETS[place].case)
    }

    /// What contributions are measured in.
    pub(super) fn evidence(&self) -> Evidence {
        if self.learn_scale {
            Evidence::Logit
        } else {
            Evidence::Cosine
        }
    }

    /// The name of what a set has for itself: all of its prototypes, or what is added to the common part.
    pub(super) fn own(&self, place: usize) -> String {
        let name = SETS[place].short_name();
        if self.share {
            format!("head.own.{name}")
        } else {
            format!("head.{name}")
        }
    }
}

pub(super) fn bias(case: Case) -> String {
    format!("head.bias.{}", case.name())
}

pub(super) fn centre(modality: Modality) -> String {
    format!("head.centre.{}", modality.name())
}

impl HeadPlan for DplPlusConfig {
    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.residual) {
            return Err(Error::Input(format!(
                "head dpl_plus: residual is {}; it must be 0 to 1",
                self.residual
            )));
        }
        check_scale("dpl_plus", self.scale)
    }

    fn folded(&self, width: usize, classes: usize, weights: &mut Weights) -> Result<FoldedHead> {
        let mut gains = [1.0; SETS.len()];
        if self.learn_scale {
            gains.copy_from_slice(&weights.floats(SCALE, &[SETS.len()])?);
        }
        let mut cases = folded_sets(weights, [classes, width], gains)?;
        for (case, of) in Case::ALL.into_iter().zip(&mut cases) {
            // The gains add up to the scale: their weighted mean times their sum is the sum of the parts.
            of.factor = match self.learn_scale {
                true => 1.0,
                false => mean_scale(self.scale, case) as f32,
            };
            if self.bias {
                of.bias = Some(weights.floats(&bias(case), &[classes])?);
            }
        }
        let mut centres = [None, None];
        for modality in Modality::ALL.into_iter().filter(|_| self.centre) {
            centres[modality as usize] = Some(weights.floats(&centre(modality), &[width])?);
        }
        Ok(FoldedHead {
            evidence: self.evidence(),
            length: Length::Own,
            centre: centres,
            cases,
            background: None,
        })
    }
}

impl HeadTensors for DplPlusConfig {
    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter> {
        let direction = Init::Normal((width as f64).sqrt().recip());
        let own = if self.share {
            Init::Zeros
        } else {
            direction.clone()
        };
        let mut parameters: Vec<Parameter> = (0..SETS.len())
            .map(|place| Parameter::new(self.own(place), &[classes, width], own.clone()))
            .collect();
        if self.share {
            let base = |name| Parameter::new(name, &[classes, width], direction.clone());
            parameters.extend(BASE.map(base));
        }
        if self.learn_scale {
            parameters.push(Parameter::new(LOG_SCALE, &[SETS.len()], Init::Zeros));
        }
        if self.bias {
            let bias = |case| Parameter::new(bias(case), &[classes], Init::Zeros);
            parameters.extend(Case::ALL.map(bias));
        }
        if self.centre {
            parameters.extend(Modality::ALL.map(|modality| Parameter {
                trained: false,
                ..Parameter::new(centre(modality), &[width], Init::Zeros)
            }));
        }
        parameters
    }

    fn measured(&self) -> Vec<(String, Measure)> {
        let measure = if self.centre {
            Measure::CentredPrototypes
        } else {
            Measure::Prototypes
        };
        let mut measured: Vec<(String, Measure)> = if self.share {
            let base = |side: Modality| (BASE[side as usize].into(), measure(side));
            Modality::ALL.into_iter().map(base).collect()
        } else {
            let own = |place: usize| (self.own(place), measure(SETS[place].modality));
            (0..SETS.len()).map(own).collect()
        };
        if self.centre {
            measured.extend(Modality::ALL.map(|side| (centre(side), Measure::Mean(side))));
        }
        measured
    }

    fn load(
        &self,
        width: usize,
        classes: usize,
        folded: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>> {
        Ok(Box::new(DplPlus::load(self, width, classes, folded, &vb)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_what_is_trained() {
        let all = DplPlusConfig {
            centre: true,
            ..DplPlusConfig::default()
        };
        let parameters = all.parameters(5, 3);
        let count = |trained: bool| -> usize {
            let of = parameters.iter().filter(|p| p.trained == trained);
            of.map(Parameter::count).sum()
        };
        assert_eq!((count(true), count(false)), (6 * 3 * 5 + 4 + 3 * 3, 2 * 5));
        for (name, measure) in all.measured() {
            let parameter = parameters.iter().find(|p| p.name == name).unwrap();
            assert_eq!(parameter.trained, measure.is_start(), "{name}");
        }
    }
}
