//! Owns DePT's head with channel-adjusted transfer: a linear layer mixed with a second one on adjusted features.
//!
//! DePT is made for CLIP's similarities; this is its port to posts with missing sides (`docs/method.md`). As everything
//! in it is linear in the features, it folds into one linear layer with a bias per case.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::features::{half, sum};
use super::{
    Evidence, Features, FoldedHead, Head, HeadPlan, HeadTensors, Part, ScoreKind, WEIGHT_STD,
    folded,
};
use crate::case::{Case, Modality};
use crate::config::DeptConfig;
use crate::error::{Error, Result};
use crate::infer::weights::Weights;
use crate::nn::{Tensors, tensor};
use crate::parameter::{Init, Parameter};

impl HeadPlan for DeptConfig {
    fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.mix) {
            return Ok(());
        }
        Err(Error::Input(format!(
            "head dept: mix is {}; it must be 0 to 1",
            self.mix
        )))
    }

    fn folded(&self, width: usize, classes: usize, weights: &mut Weights) -> Result<FoldedHead> {
        let weight = folded::halves(weights, WEIGHT, [classes, width])?;
        let [a, b, c] = Case::ALL.map(|case| weights.floats(&bias(case), &[classes]));
        Ok(FoldedHead::linear(&weight, [a?, b?, c?]))
    }
}

impl HeadTensors for DeptConfig {
    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter> {
        let layer = |name: &str| {
            [
                Parameter::new(
                    format!("head.{name}.weight"),
                    &[classes, 2 * width],
                    Init::Normal(WEIGHT_STD),
                ),
                Parameter::new(format!("head.{name}.bias"), &[classes], Init::Zeros),
            ]
        };
        let adjust = Parameter::norm("head.adjust", 2 * width);
        [layer("base"), adjust, layer("transfer")].concat()
    }

    fn load(
        &self,
        width: usize,
        classes: usize,
        folded: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>> {
        Ok(if folded {
            Box::new(FoldedDept::load(width, classes, &vb)?)
        } else {
            Box::new(Dept::load(self.mix, width, classes, &vb)?)
        })
    }
}

/// A linear layer.
#[derive(Clone, Debug)]
struct Layer {
    /// [K, 2D]: image columns, then text columns.
    weight: Tensor,
    /// `[K]`.
    bias: Tensor,
}

impl Layer {
    fn load(width: usize, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: tensor(vb, &[classes, 2 * width], "weight")?,
            bias: tensor(vb, &[classes], "bias")?,
        })
    }

    fn forward(&self, features: &Features) -> Result<Tensor> {
        Ok(sum(features.products(&self.weight)?)?.broadcast_add(&self.bias)?)
    }
}

/// The head with its tensors as they are trained.
#[derive(Clone, Debug)]
pub struct Dept {
    base: Layer,
    /// gamma `[2D]`, by channel.
    adjust_weight: Tensor,
    /// beta `[2D]`, by channel; the half of a missing modality does not act.
    adjust_bias: Tensor,
    transfer: Layer,
    mix: f64,
}

impl Dept {
    fn load(mix: f64, width: usize, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let adjust = vb.pp("adjust");
        Ok(Self {
            base: Layer::load(width, classes, &vb.pp("base"))?,
            adjust_weight: tensor(&adjust, &[2 * width], "weight")?,
            adjust_bias: tensor(&adjust, &[2 * width], "bias")?,
            transfer: Layer::load(width, classes, &vb.pp("transfer"))?,
            mix,
        })
    }

    /// The logits of both layers.
    fn both(&self, features: &Features) -> Result<[Tensor; 2]> {
        let adjusted = features.map(|modality, x| {
            let scaled = x.broadcast_mul(&half(&self.adjust_weight, modality)?)?;
            Ok(scaled.broadcast_add(&half(&self.adjust_bias, modality)?)?)
        })?;
        Ok([
            self.base.forward(features)?,
            self.transfer.forward(&adjusted)?,
        ])
    }

    /// (1 - mix) `base` + mix `transfer`.
    fn mixed(&self, [base, transfer]: [&Tensor; 2]) -> Result<Tensor> {
        Ok(((base * (1.0 - self.mix))? + (transfer * self.mix)?)?)
    }

    /// The weight [K, 2D] of the one layer that the two fold into.
    fn weight(&self) -> Result<Tensor> {
        let transfer = self.transfer.weight.broadcast_mul(&self.adjust_weight)?;
        self.mixed([&self.base.weight, &transfer])
    }

    /// Its bias `[K]` in a case.
    fn bias(&self, case: Case) -> Result<Tensor> {
        let mut transfer = self.transfer.bias.clone();
        for modality in Modality::ALL.into_iter().filter(|&side| case.has(side)) {
            let columns = half(&self.transfer.weight, modality)?;
            let shift = half(&self.adjust_bias, modality)?.unsqueeze(1)?;
            transfer = (transfer + columns.matmul(&shift)?.squeeze(1)?)?;
        }
        self.mixed([&self.base.bias, &transfer])
    }
}

impl Head for Dept {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        let [base, transfer] = self.both(features)?;
        self.mixed([&base, &transfer])
    }

    fn logits(&self, _: Case, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.clone())
    }

    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]> {
        features.products(&self.weight()?)
    }

    fn evidence(&self) -> Evidence {
        Evidence::Logit
    }

    fn fold(&self) -> Result<Tensors> {
        let mut tensors = Tensors::from([(WEIGHT.into(), self.weight()?.detach())]);
        for case in Case::ALL {
            tensors.insert(bias(case), self.bias(case)?.detach());
        }
        Ok(tensors)
    }

    /// Both layers have losses of their own.
    fn parts(&self, features: &Features, _: &Tensor) -> Result<Vec<Part>> {
        let parts = [1.0 - self.mix, self.mix]
            .into_iter()
            .zip(self.both(features)?);
        let part = |(weight, scores)| Part {
            weight,
            scores,
            kind: ScoreKind::Logit,
        };
        Ok(parts.map(part).collect())
    }
}

/// The folded weight's name.
const WEIGHT: &str = "head.weight";

/// A folded bias's name.
fn bias(case: Case) -> String {
    format!("head.bias.{}", case.name())
}

/// The head as it is exported: one linear layer, with a bias per case, because a missing side is not shifted.
#[derive(Clone, Debug)]
pub struct FoldedDept {
    /// [K, 2D]: image columns, then text columns.
    weight: Tensor,
    /// `[K]` by case code.
    bias: [Tensor; 3],
}

impl FoldedDept {
    fn load(width: usize, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let biases = vb.pp("bias");
        let [a, b, c] = Case::ALL.map(|case| tensor(&biases, &[classes], case.name()));
        Ok(Self {
            weight: tensor(vb, &[classes, 2 * width], "weight")?,
            bias: [a?, b?, c?],
        })
    }
}

impl Head for FoldedDept {
    fn scores(&self, features: &Features) -> Result<Tensor> {
        let logits = sum(self.contributions(features)?)?;
        Ok(logits.broadcast_add(&self.bias[features.case.index()])?)
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
        let biases = Case::ALL
            .into_iter()
            .map(|case| (bias(case), self.bias[case.index()].detach()));
        Ok(biases
            .chain([(WEIGHT.to_string(), self.weight.detach())])
            .collect())
    }
}
