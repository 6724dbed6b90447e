//! Owns the linear head: one layer on both features side by side, a missing half set to zero.
//!
//! The default head of Deep Correlated Prompting and the baseline of the prototypes. A zero half adds nothing to the
//! product, so it is not formed ([`Features::products`]).

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::features::sum;
use super::{Evidence, Features, FoldedHead, Head, HeadPlan, HeadTensors, WEIGHT_STD, folded};
use crate::case::Case;
use crate::error::Result;
use crate::infer::weights::Weights;
use crate::nn::{Tensors, tensor};
use crate::parameter::{Init, Parameter};

/// The linear head has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearSettings;

impl HeadPlan for LinearSettings {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn folded(&self, width: usize, classes: usize, weights: &mut Weights) -> Result<FoldedHead> {
        let weight = folded::halves(weights, "head.weight", [classes, width])?;
        let bias = weights.floats("head.bias", &[classes])?;
        Ok(FoldedHead::linear(&weight, Case::ALL.map(|_| bias.clone())))
    }
}

impl HeadTensors for LinearSettings {
    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter> {
        vec![
            Parameter::new(
                "head.weight",
                &[classes, 2 * width],
                Init::Normal(WEIGHT_STD),
            ),
            Parameter::new("head.bias", &[classes], Init::Zeros),
        ]
    }

    fn load(
        &self,
        width: usize,
        classes: usize,
        _: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>> {
        let weight = tensor(&vb, &[classes, 2 * width], "weight")?;
        Ok(Box::new(LinearHead {
            weight,
            bias: tensor(&vb, &[classes], "bias")?,
        }))
    }
}

/// The linear head with its tensors.
#[derive(Clone, Debug)]
pub struct LinearHead {
    /// [K, 2D]: image columns, then text columns.
    weight: Tensor,
    /// `[K]`.
    bias: Tensor,
}

impl Head for LinearHead {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        let logits = sum(self.contributions(features)?)?;
        Ok(logits.broadcast_add(&self.bias)?)
    }

    fn logits(&self, _: Case, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.clone())
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        features.products(&self.weight)
    }

    fn evidence(&self) -> Evidence {
        Evidence::Logit
    }

    fn fold(&self) -> Result<Tensors> {
        Ok(Tensors::from([
            ("head.weight".into(), self.weight.detach()),
            ("head.bias".into(), self.bias.detach()),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::case::Modality;
    use crate::nn::var_builder;
    use crate::parameter::draw;
    use crate::rng::{normal, stream};

    #[test]
    fn equals_one_layer_on_both_features_with_a_zero_half() {
        let (device, n, d, k) = (Device::Cpu, 4, 6, 3);
        let mut rng = stream(3, "linear");
        let mut tensors = draw(&LinearSettings.parameters(d, k), &mut rng, &device).unwrap();
        tensors.insert(
            "head.bias".into(),
            normal(&mut rng, &[k], 1.0, &device).unwrap(),
        );
        let head = LinearSettings
            .load(d, k, false, var_builder(&tensors, &device).pp("head"))
            .unwrap();
        let [image, text] = [0, 1].map(|_| normal(&mut rng, &[n, d], 1.0, &device).unwrap());
        for case in Case::ALL {
            let half = |modality, x: &Tensor| {
                if case.has(modality) {
                    x.clone()
                } else {
                    x.zeros_like().unwrap()
                }
            };
            let halves = [half(Modality::Image, &image), half(Modality::Text, &text)];
            let padded = Tensor::cat(&halves, 1).unwrap();
            let expected = padded.matmul(&tensors["head.weight"].t().unwrap()).unwrap();
            let expected = expected.broadcast_add(&tensors["head.bias"]).unwrap();
            let features = Features {
                case,
                image: Some(image.clone()),
                text: Some(text.clone()),
            };
            let diff = (head.scores(&features).unwrap() - expected).unwrap();
            let diff = diff
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(diff < 1e-6, "{case}: {diff}");
        }
    }
}
