//! Owns the decoupled prototype head: per class, case and modality one direction, met by the features' cosine.
//!
//! Of the paper's K x 3 cases x 2 modalities the prototypes of a missing modality are fixed at zero; the other 4K are
//! learnt. Margins and losses act on the scores and are the trainer's.

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;

use super::{Evidence, Features, Head, HeadPlan};
use crate::case::{Case, Modality};
use crate::config::DplConfig;
use crate::error::{Error, Result};
use crate::nn::{Tensors, tensor};
use crate::parameter::{Init, Parameter};

/// Added to squared norms, so that a zero vector has cosine 0 with everything and a finite gradient.
const NORM_GUARD: f64 = 1e-24;

/// One of the four learnt sets of prototypes, [K, D] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrototypeSet {
    /// The case of the posts it is compared with.
    pub case: Case,
    /// The modality it is compared with.
    pub modality: Modality,
    /// Its tensor's name inside the model.
    pub name: &'static str,
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

impl HeadPlan for DplConfig {
    fn check(&self) -> Result<()> {
        match Case::ALL
            .into_iter()
            .find(|case| !(1e-3..=1e4).contains(&self.scale[case.index()]))
        {
            None => Ok(()),
            Some(case) => Err(Error::Input(format!(
                "head dpl: the scale of case {case} is {}; it must be 0.001 to 10000",
                self.scale[case.index()]
            ))),
        }
    }

    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter> {
        // Unit length on average, so that a step of the optimiser turns a fresh direction only a little.
        let init = Init::Normal((width as f64).sqrt().recip());
        SETS.iter()
            .map(|set| Parameter::new(set.name, &[classes, width], init.clone()))
            .collect()
    }

    fn load(
        &self,
        width: usize,
        classes: usize,
        folded: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>> {
        Ok(Box::new(Dpl::load(self, width, classes, folded, &vb)?))
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

/// Prototypes as a loss sees them.
#[derive(Clone, Debug)]
pub struct ActivePrototypes {
    /// Unit vectors [A, D].
    pub directions: Tensor,
    /// The class of each.
    pub classes: Vec<u32>,
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
        let read = |set: PrototypeSet| {
            tensor(
                vb,
                &[classes, width],
                set.name.strip_prefix("head.").unwrap_or(set.name),
            )
        };
        let [a, b, c, d] = SETS.map(read);
        Ok(Self {
            prototypes: [a?, b?, c?, d?],
            scale: config.scale,
            unit: folded,
        })
    }

    /// The scale s of a case.
    pub fn scale(&self, case: Case) -> f64 {
        self.scale[case.index()]
    }

    /// The prototypes that posts of these cases are compared with, set by set in the order of [`SETS`]: what
    /// contrast between prototypes acts on (paper, eq. 12). A run with texts missing has 3K, one with both 4K.
    ///
    /// # Errors
    /// If the tensor library fails, or no case is given.
    pub fn active(&self, cases: &[Case]) -> Result<ActivePrototypes> {
        let mut parts = Vec::new();
        let mut classes = Vec::new();
        for (set, prototypes) in SETS.iter().zip(&self.prototypes) {
            if cases.contains(&set.case) {
                parts.push(self.directions(prototypes)?);
                classes.extend(0..prototypes.dim(0)? as u32);
            }
        }
        if parts.is_empty() {
            return Err(Error::Input(
                "no case is given, so no prototypes are active".into(),
            ));
        }
        Ok(ActivePrototypes {
            directions: Tensor::cat(&parts, 0)?,
            classes,
        })
    }

    fn directions(&self, prototypes: &Tensor) -> Result<Tensor> {
        if self.unit {
            Ok(prototypes.clone())
        } else {
            unit(prototypes)
        }
    }
}

/// The rows of `x` [n, D] at unit length; a zero row stays zero.
///
/// # Errors
/// If the tensor library fails.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    let norm = (x.sqr()?.sum_keepdim(D::Minus1)? + NORM_GUARD)?.sqrt()?;
    Ok(x.broadcast_div(&norm)?)
}

impl Head for Dpl {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        match self.contributions(features)? {
            [Some(image), Some(text)] => Ok(((image + text)? * 0.5)?),
            [Some(only), None] | [None, Some(only)] => Ok(only),
            [None, None] => Err(Error::Input("the features are of neither modality".into())),
        }
    }

    fn logits(&self, case: Case, scores: &Tensor) -> Result<Tensor> {
        Ok((scores * self.scale(case))?)
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        let mut cosines = [None, None];
        let present = features.present()?;
        for (set, prototypes) in SETS.iter().zip(&self.prototypes) {
            let x = present
                .iter()
                .find(|(modality, _)| *modality == set.modality);
            if let Some((_, x)) = x.filter(|_| set.case == features.case) {
                let directions = self.directions(prototypes)?;
                cosines[set.modality as usize] = Some(unit(x)?.matmul(&directions.t()?)?);
            }
        }
        Ok(cosines)
    }

    fn evidence(&self) -> Evidence {
        Evidence::Cosine
    }

    fn fold(&self) -> Result<Tensors> {
        let fold = |(set, prototypes): (&PrototypeSet, &Tensor)| {
            Ok((set.name.to_string(), self.directions(prototypes)?.detach()))
        };
        SETS.iter().zip(&self.prototypes).map(fold).collect()
    }

    fn as_dpl(&self) -> Option<&Dpl> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
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
        let active = dpl.active(&[Case::Complete, Case::TextMissing]).unwrap();
        assert_eq!(active.classes, [0, 1, 0, 1, 0, 1]);
        assert_eq!(active.directions.dims(), [6, 2]);
        assert_eq!(dpl.active(&Case::ALL).unwrap().classes.len(), 8);
    }

    /// Counts of method, section 6: 4 x 512 x K.
    #[test]
    fn counts() {
        for (classes, count) in [(2, 4_096), (23, 47_104), (101, 206_848)] {
            let parameters = DplConfig::default().parameters(512, classes);
            assert_eq!(
                parameters.iter().map(Parameter::count).sum::<usize>(),
                count
            );
        }
    }
}
