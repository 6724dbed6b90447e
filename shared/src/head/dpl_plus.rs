//! Owns the extended decoupled prototypes: learnt scales and biases, prototypes with a common part, centred features.
//!
//! Each extension can be switched off; without any, this is the plain head of decoupled prototypes, number for number.

mod plan;

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::features::sum;
use super::prototype::{ActivePrototypes, SETS, active, cosines, unit};
use super::{Evidence, Features, Head, Part, ScoreKind};
use crate::case::{Case, Modality};
use crate::config::DplPlusConfig;
use crate::error::Result;
use crate::nn::{Tensors, tensor};
use plan::{BASE, LOG_SCALE, SCALE, bias, centre};

/// The prototypes, as trained or folded.
#[derive(Clone, Debug)]
enum Prototypes {
    /// What each set has for itself, in the order of [`SETS`], and what the sets of a modality have in common.
    Trained(Vec<Tensor>, Option<[Tensor; 2]>),
    /// Unit vectors, in the order of [`SETS`].
    Unit(Vec<Tensor>),
}

/// The learnt scales, as trained or folded, `[4]` in the order of [`SETS`].
#[derive(Clone, Debug)]
enum Scales {
    Logarithms(Tensor),
    Values(Tensor),
}

/// The extended prototypes with their tensors.
#[derive(Clone, Debug)]
pub struct DplPlus {
    config: DplPlusConfig,
    prototypes: Prototypes,
    scales: Option<Scales>,
    /// `[K]` by case code.
    biases: Option<Vec<Tensor>>,
    /// `[D]` by modality.
    centre: Option<Vec<Tensor>>,
}

impl DplPlus {
    /// Reads the tensors; `vb` stands at `head`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(
        config: &DplPlusConfig,
        width: usize,
        classes: usize,
        folded: bool,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let read = |name: &str, shape: &[usize]| {
            tensor(vb, shape, name.strip_prefix("head.").unwrap_or(name))
        };
        let places = 0..SETS.len();
        let prototypes = if folded {
            let sets = places.map(|place| read(SETS[place].name, &[classes, width]));
            Prototypes::Unit(sets.collect::<Result<_>>()?)
        } else {
            let own = places.map(|place| read(&config.own(place), &[classes, width]));
            let own = own.collect::<Result<_>>()?;
            let base = if config.share {
                let [image, text] = BASE.map(|name| read(name, &[classes, width]));
                Some([image?, text?])
            } else {
                None
            };
            Prototypes::Trained(own, base)
        };
        let scales = match (config.learn_scale, folded) {
            (false, _) => None,
            (true, false) => Some(Scales::Logarithms(read(LOG_SCALE, &[SETS.len()])?)),
            (true, true) => Some(Scales::Values(read(SCALE, &[SETS.len()])?)),
        };
        let biases = || Case::ALL.map(|case| read(&bias(case), &[classes]));
        let centre = || Modality::ALL.map(|modality| read(&centre(modality), &[width]));
        let all = |tensors: Vec<Result<Tensor>>| tensors.into_iter().collect::<Result<Vec<_>>>();
        Ok(Self {
            config: config.clone(),
            prototypes,
            scales,
            biases: config.bias.then(|| all(biases().into())).transpose()?,
            centre: config.centre.then(|| all(centre().into())).transpose()?,
        })
    }

    /// The unit vectors [K, D] of a set by its place in [`SETS`].
    fn directions(&self, place: usize) -> Result<Tensor> {
        match &self.prototypes {
            Prototypes::Unit(sets) => Ok(sets[place].clone()),
            Prototypes::Trained(own, None) => unit(&own[place]),
            Prototypes::Trained(own, Some(base)) => {
                let own = (&own[place] * self.config.residual)?;
                unit(&(own + &base[SETS[place].modality as usize])?)
            }
        }
    }

    /// The learnt scale `[1]` of a case's modality, if scales are learnt.
    fn scale(&self, case: Case, modality: Modality) -> Result<Option<Tensor>> {
        let place = SETS
            .iter()
            .position(|set| set.case == case && set.modality == modality);
        match (place, &self.scales) {
            (Some(place), Some(Scales::Values(scales))) => Ok(Some(scales.narrow(0, place, 1)?)),
            (Some(place), Some(Scales::Logarithms(logarithms))) => {
                let growth = logarithms.narrow(0, place, 1)?.exp()?;
                Ok(Some((growth * self.config.start(place))?))
            }
            _ => Ok(None),
        }
    }

    /// The sum `[1]` of a case's learnt scales, if scales are learnt.
    fn total(&self, case: Case) -> Result<Option<Tensor>> {
        let [image, text] = Modality::ALL.map(|modality| self.scale(case, modality));
        let scales = [image?, text?];
        match scales {
            [None, None] => Ok(None),
            scales => sum(scales).map(Some),
        }
    }

    fn cosines(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        let directions = |place| self.directions(place);
        match &self.centre {
            None => cosines(features, directions),
            Some(centre) => {
                let centred =
                    features.map(|modality, x| Ok(x.broadcast_sub(&centre[modality as usize])?))?;
                cosines(&centred, directions)
            }
        }
    }
}

impl Head for DplPlus {
    /// The mean of the cosines, weighted by the learnt scales: so |z| is at most 1, and a margin has its meaning.
    fn scores(&self, features: &Features) -> Result<Tensor> {
        let sum = sum(self.contributions(features)?)?;
        match self.total(features.case)? {
            Some(total) => Ok(sum.broadcast_div(&total)?),
            None if features.case == Case::Complete => Ok((sum * 0.5)?),
            None => Ok(sum),
        }
    }

    fn logits(&self, case: Case, scores: &Tensor) -> Result<Tensor> {
        let logits = match self.total(case)? {
            Some(total) => scores.broadcast_mul(&total)?,
            None => (scores * self.config.scale[case.index()])?,
        };
        match &self.biases {
            Some(biases) => Ok(logits.broadcast_add(&biases[case.index()])?),
            None => Ok(logits),
        }
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        let mut parts = self.cosines(features)?;
        for modality in Modality::ALL {
            let part = &mut parts[modality as usize];
            if let (Some(cosine), Some(scale)) =
                (part.as_mut(), self.scale(features.case, modality)?)
            {
                *cosine = cosine.broadcast_mul(&scale)?;
            }
        }
        Ok(parts)
    }

    fn evidence(&self) -> Evidence {
        self.config.evidence()
    }

    fn parts(&self, _: &Features, scores: &Tensor) -> Result<Vec<Part>> {
        Ok(vec![Part::whole(scores, ScoreKind::Cosine)])
    }

    fn prototypes(&self, cases: &[Case]) -> Result<Option<ActivePrototypes>> {
        active(cases, |place| self.directions(place)).map(Some)
    }

    fn fold(&self) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        let mut scales = Vec::new();
        for (place, set) in SETS.iter().enumerate() {
            tensors.insert(set.name.into(), self.directions(place)?.detach());
            scales.extend(self.scale(set.case, set.modality)?);
        }
        if !scales.is_empty() {
            tensors.insert(SCALE.into(), Tensor::cat(&scales, 0)?.detach());
        }
        for (case, tensor) in Case::ALL.into_iter().zip(self.biases.iter().flatten()) {
            tensors.insert(bias(case), tensor.detach());
        }
        for (side, tensor) in Modality::ALL.into_iter().zip(self.centre.iter().flatten()) {
            tensors.insert(centre(side), tensor.detach());
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::HeadTensors;
    use super::*;
    use crate::config::DplConfig;
    use crate::nn::var_builder;
    use crate::parameter::draw;
    use crate::rng::{normal, stream};

    const D: usize = 5;
    const K: usize = 3;

    fn plain() -> DplPlusConfig {
        DplPlusConfig {
            scale: [10.0, 20.0, 30.0],
            learn_scale: false,
            bias: false,
            share: false,
            residual: 1.0,
            centre: false,
        }
    }

    fn load(plan: &dyn HeadTensors, tensors: &Tensors) -> Box<dyn Head> {
        let vb = var_builder(tensors, &Device::Cpu);
        plan.load(D, K, false, vb.pp("head")).unwrap()
    }

    fn features(case: Case) -> Features {
        let draw = |name| normal(&mut stream(4, name), &[6, D], 1.0, &Device::Cpu).unwrap();
        Features {
            case,
            image: case.has(Modality::Image).then(|| draw("image")),
            text: case.has(Modality::Text).then(|| draw("text")),
        }
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.to_vec2().unwrap()
    }

    /// Bit for bit, and with any extension at its start to rounding.
    #[test]
    fn without_extensions_it_is_the_plain_head() {
        let dpl = DplConfig {
            scale: plain().scale,
            ..DplConfig::default()
        };
        let tensors = draw(&dpl.parameters(D, K), &mut stream(5, "dpl"), &Device::Cpu).unwrap();
        let ours = draw(
            &plain().parameters(D, K),
            &mut stream(5, "dpl"),
            &Device::Cpu,
        )
        .unwrap();
        assert!(ours.keys().eq(tensors.keys()));
        assert_eq!(plain().measured(), dpl.measured());
        let (dpl, plus) = (load(&dpl, &tensors), load(&plain(), &tensors));
        assert_eq!(dpl.evidence(), plus.evidence());
        let prototypes = |head: &dyn Head| {
            let active = head.prototypes(&Case::ALL).unwrap().unwrap();
            (rows(&active.directions), active.classes)
        };
        assert_eq!(prototypes(dpl.as_ref()), prototypes(plus.as_ref()));
        for case in Case::ALL {
            let x = features(case);
            let [expected, found] = [&dpl, &plus].map(|head| {
                let scores = head.scores(&x).unwrap();
                let parts = head.contributions(&x).unwrap();
                let parts = parts.map(|part| part.map(|part| rows(&part)));
                let logits = head.logits(case, &scores).unwrap();
                (rows(&scores), rows(&logits), parts)
            });
            assert_eq!(expected, found, "{case}");
        }
        for (what, config) in [
            (
                "learn_scale",
                DplPlusConfig {
                    learn_scale: true,
                    ..plain()
                },
            ),
            (
                "bias",
                DplPlusConfig {
                    bias: true,
                    ..plain()
                },
            ),
            (
                "centre",
                DplPlusConfig {
                    centre: true,
                    ..plain()
                },
            ),
        ] {
            let mut all =
                draw(&config.parameters(D, K), &mut stream(5, "x"), &Device::Cpu).unwrap();
            all.extend(tensors.clone());
            let head = load(&config, &all);
            for case in Case::ALL {
                let x = features(case);
                let [expected, found] = [&dpl, &head].map(|head| {
                    let scores = head.scores(&x).unwrap();
                    rows(&head.logits(case, &scores).unwrap()).concat()
                });
                let pairs = expected.iter().zip(&found);
                let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-5, "{what}, {case}: {difference}");
            }
        }
    }
}
