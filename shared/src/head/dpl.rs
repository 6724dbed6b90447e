//! Owns the decoupled prototype head: per class, case and modality one direction, met by the features' cosine.
//!
//! Of the paper's K x 3 cases x 2 modalities the prototypes of a missing modality are fixed at zero; the other 4K are
//! learnt. Margins and losses act on the scores and are the trainer's.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::features::sum;
use super::folded::Length;
use super::joint::JointPrototypes;
use super::means::Measure;
use super::prototype::{
    ActivePrototypes, SETS, active, check_scale, cosines, folded_sets, mean_scale, unit,
};
use super::{Evidence, Features, FoldedHead, Head, HeadPlan, HeadTensors, Part, ScoreKind};
use crate::case::Case;
use crate::config::DplConfig;
use crate::error::Result;
use crate::infer::weights::Weights;
use crate::nn::{Tensors, tensor};
use crate::parameter::{Init, Parameter};

impl HeadPlan for DplConfig {
    fn check(&self) -> Result<()> {
        check_scale("dpl", self.scale)
    }

    fn folded(&self, width: usize, classes: usize, weights: &mut Weights) -> Result<FoldedHead> {
        if !self.decomposed {
            return JointPrototypes::folded(self.scale, width, classes, weights);
        }
        let mut cases = folded_sets(weights, [classes, width], [1.0; 4])?;
        for (case, of) in Case::ALL.into_iter().zip(&mut cases) {
            of.factor = mean_scale(self.scale, case) as f32;
        }
        Ok(FoldedHead {
            evidence: Evidence::Cosine,
            length: Length::Own,
            centre: [None, None],
            cases,
            background: None,
        })
    }
}

impl HeadTensors for DplConfig {
    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter> {
        if !self.decomposed {
            return JointPrototypes::parameters(width, classes);
        }
        // Unit length on average, so that a step of the optimiser turns a fresh direction only a little.
        let init = Init::Normal((width as f64).sqrt().recip());
        SETS.iter()
            .map(|set| Parameter::new(set.name, &[classes, width], init.clone()))
            .collect()
    }

    fn measured(&self) -> Vec<(String, Measure)> {
        if !self.decomposed {
            return JointPrototypes::measured();
        }
        SETS.iter()
            .map(|set| (set.name.into(), Measure::Prototypes(set.modality)))
            .collect()
    }

    fn load(
        &self,
        width: usize,
        classes: usize,
        folded: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>> {
        Ok(if self.decomposed {
            Box::new(Dpl::load(self, width, classes, folded, &vb)?)
        } else {
            Box::new(JointPrototypes::load(
                self.scale, width, classes, folded, &vb,
            )?)
        })
    }
}

/// The decoupled prototypes with their tensors.
#[derive(Clone, Debug)]
pub struct Dpl {
    /// In the order of [`SETS`].
    prototypes: [Tensor; 4],
    scale: [f64; 3],
    /// Whether the prototypes are unit vectors already.
    unit: bool,
}

impl Dpl {
    /// Reads the tensors; `vb` stands at `head`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(
        config: &DplConfig,
        width: usize,
        classes: usize,
        folded: bool,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let [a, b, c, d] = SETS.map(|set| tensor(vb, &[classes, width], set.short_name()));
        Ok(Self {
            prototypes: [a?, b?, c?, d?],
            scale: config.scale,
            unit: folded,
        })
    }

    /// The unit vectors [K, D] of a set by its place in [`SETS`].
    fn directions(&self, place: usize) -> Result<Tensor> {
        let prototypes = &self.prototypes[place];
        if self.unit {
            Ok(prototypes.clone())
        } else {
            unit(prototypes)
        }
    }
}

impl Head for Dpl {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        let sum = sum(self.contributions(features)?)?;
        Ok(if features.case == Case::Complete {
            (sum * 0.5)?
        } else {
            sum
        })
    }

    fn logits(&self, case: Case, scores: &Tensor) -> Result<Tensor> {
        Ok((scores * self.scale[case.index()])?)
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        cosines(features, |place| self.directions(place))
    }

    fn evidence(&self) -> Evidence {
        Evidence::Cosine
    }

    fn parts(&self, _: &Features, scores: &Tensor) -> Result<Vec<Part>> {
        Ok(vec![Part::whole(scores, ScoreKind::Cosine)])
    }

    fn prototypes(&self, cases: &[Case]) -> Result<Option<ActivePrototypes>> {
        active(cases, |place| self.directions(place)).map(Some)
    }

    fn fold(&self) -> Result<Tensors> {
        let fold = |place: usize| {
            Ok((
                SETS[place].name.to_string(),
                self.directions(place)?.detach(),
            ))
        };
        (0..SETS.len()).map(fold).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::case::Modality;
    use crate::nn::var_builder;

    /// K = 2, D = 2, by hand.
    #[test]
    fn cosines_by_case() {
        let device = Device::Cpu;
        let set = |values: [[f32; 2]; 2]| Tensor::new(&values, &device).unwrap();
        let tensors = Tensors::from([
            ("head.complete_image".into(), set([[2.0, 0.0], [0.0, 1.0]])),
            ("head.complete_text".into(), set([[0.0, 3.0], [0.0, 0.0]])),
            ("head.image_only".into(), set([[-1.0, 0.0], [3.0, 4.0]])),
            ("head.text_only".into(), set([[0.0, -1.0], [1.0, 0.0]])),
        ]);
        let config = DplConfig {
            scale: [10.0, 20.0, 30.0],
            ..DplConfig::default()
        };
        let dpl = Dpl::load(
            &config,
            2,
            2,
            false,
            &var_builder(&tensors, &device).pp("head"),
        )
        .unwrap();
        let image = Some(Tensor::new(&[[5.0f32, 0.0]], &device).unwrap());
        let text = Some(Tensor::new(&[[3.0f32, 4.0]], &device).unwrap());
        for (case, scores, logit) in [
            (Case::Complete, [0.9, 0.0], 9.0),
            (Case::TextMissing, [-1.0, 0.6], -20.0),
            (Case::ImageMissing, [-0.8, 0.6], -24.0),
        ] {
            let features = Features {
                case,
                image: image.clone(),
                text: text.clone(),
            };
            let z = dpl.scores(&features).unwrap();
            let values = z.to_vec2::<f32>().unwrap()[0].clone();
            assert!(
                (values[0] - scores[0]).abs() < 1e-6 && (values[1] - scores[1]).abs() < 1e-6,
                "{values:?}"
            );
            let logits = dpl.logits(case, &z).unwrap().to_vec2::<f32>().unwrap();
            assert!((logits[0][0] - logit).abs() < 1e-4);
            let [i, t] = dpl.contributions(&features).unwrap();
            assert_eq!(
                (i.is_some(), t.is_some()),
                (case.has(Modality::Image), case.has(Modality::Text))
            );
        }
        let active = |cases: &[Case]| dpl.prototypes(cases).unwrap().unwrap();
        assert_eq!(active(&Case::ALL).classes.len(), 8);
        let active = active(&[Case::Complete, Case::TextMissing]);
        assert_eq!(active.classes, [0, 1, 0, 1, 0, 1]);
        assert_eq!(active.directions.dims(), [6, 2]);
        assert!(dpl.prototypes(&[]).is_err());
    }

    /// 4 x 512 x K, and 3 x 1024 x K for the ablation.
    #[test]
    fn counts() {
        for (classes, count) in [(2, 4_096), (23, 47_104), (101, 206_848)] {
            for (decomposed, count) in [(true, count), (false, count / 2 * 3)] {
                let config = DplConfig {
                    decomposed,
                    ..DplConfig::default()
                };
                let parameters = config.parameters(512, classes);
                let found: usize = parameters.iter().map(Parameter::count).sum();
                assert_eq!(found, count);
                let names: Vec<&String> = parameters.iter().map(|p| &p.name).collect();
                let measured = config.measured();
                assert_eq!(
                    names,
                    measured.iter().map(|(name, _)| name).collect::<Vec<_>>()
                );
            }
        }
    }
}
