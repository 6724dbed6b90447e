//! Owns Deep Correlated Prompting: correlated, common and dynamic prompts, case by case.
//!
//! `docs/method.md` gives the formulas and the tensor names. No residuals; prompts get no position and no pre-norm.

mod plan;

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::slots::{DynamicPrompt, Slot, TowerPrompts};
use super::{PromptMethod, width};
use crate::case::{Case, Modality};
use crate::config::{ClipConfig, DcpConfig};
use crate::error::Result;
use crate::nn::activation::gelu;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::nn::tensor;

/// Epsilon of the generators' norms (PyTorch's default).
const NORM_EPS: f64 = 1e-5;

/// Names of the two initial prompts of a modality, by whether it is missing.
const STATES: [&str; 2] = ["complete", "missing"];

/// Linear, GELU (erf), linear.
#[derive(Clone, Debug)]
struct Bottleneck {
    down: Linear,
    up: Linear,
}

impl Bottleneck {
    fn load(inputs: usize, inner: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            down: Linear::load(inputs, inner, true, vb.pp("down"))?,
            up: Linear::load(inner, outputs, true, vb.pp("up"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.up.forward(&gelu(&self.down.forward(x)?)?)
    }
}

/// One tower's part of the method.
#[derive(Clone, Debug)]
struct Side {
    /// Initial prompts [n, d], in the order of [`STATES`].
    initial: [Tensor; 2],
    /// The correlated generator of each layer.
    generators: Vec<(LayerNorm, Bottleneck)>,
    /// From the common prompts' width to the tower's.
    projection: Bottleneck,
    /// Queries of the dynamic prompts [n, d] by case.
    queries: [Tensor; 3],
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

/// Deep Correlated Prompting with its tensors.
#[derive(Clone, Debug)]
pub struct Dcp {
    /// Image, text.
    sides: [Side; 2],
    /// Common prompts [n, text width] by case.
    common: [Tensor; 3],
}

impl Dcp {
    /// Reads the tensors; `vb` stands at `prompt`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(config: &DcpConfig, clip: &ClipConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let n = config.third();
        let (correlated, common) = config.bottlenecks(clip);
        let [image, text] = Modality::ALL.map(|modality| width(clip, modality));
        let pair = image + text;
        let by_case = |d: usize, vb: VarBuilder<'_>| -> Result<[Tensor; 3]> {
            let of = |case: Case| tensor(&vb, &[n, d], case.name());
            Ok([
                of(Case::Complete)?,
                of(Case::TextMissing)?,
                of(Case::ImageMissing)?,
            ])
        };
        let side = |modality: Modality, d: usize| -> Result<Side> {
            let name = modality.name();
            let initial = vb.pp("initial").pp(name);
            let dynamic = vb.pp("dynamic").pp(name);
            let generators = (0..config.depth).map(|layer| {
                let vb = vb.pp("correlated").pp(layer).pp(name);
                let norm = LayerNorm::load(pair, NORM_EPS, vb.pp("norm"))?;
                Ok((norm, Bottleneck::load(pair, correlated, d, vb)?))
            });
            Ok(Side {
                initial: [
                    tensor(&initial, &[n, d], STATES[0])?,
                    tensor(&initial, &[n, d], STATES[1])?,
                ],
                generators: generators.collect::<Result<_>>()?,
                projection: Bottleneck::load(text, common, d, vb.pp("common_projection").pp(name))?,
                queries: by_case(d, dynamic.pp("queries"))?,
                query: Linear::load(d, d, true, dynamic.pp("query"))?,
                key: Linear::load(d, d, true, dynamic.pp("key"))?,
                value: Linear::load(d, d, true, dynamic.pp("value"))?,
                output: Linear::load(d, d, true, dynamic.pp("output"))?,
            })
        };
        Ok(Self {
            sides: [side(Modality::Image, image)?, side(Modality::Text, text)?],
            common: by_case(text, vb.pp("common"))?,
        })
    }

    /// The correlated prompts by layer, [image [n, d], text [n, d]]: each layer's pair from both of the layer before.
    fn correlated(&self, case: Case) -> Result<Vec<[Tensor; 2]>> {
        let [image, text] = &self.sides;
        let state = |modality| usize::from(!case.has(modality));
        let mut pair = [
            image.initial[state(Modality::Image)].clone(),
            text.initial[state(Modality::Text)].clone(),
        ];
        let mut layers = Vec::with_capacity(image.generators.len());
        for ((image_norm, image_mlp), (text_norm, text_mlp)) in
            image.generators.iter().zip(&text.generators)
        {
            let both = Tensor::cat(&pair, 1)?;
            pair = [
                image_mlp.forward(&image_norm.forward(&both)?)?,
                text_mlp.forward(&text_norm.forward(&both)?)?,
            ];
            layers.push(pair.clone());
        }
        Ok(layers)
    }

    /// One tower's prompts, given the correlated ones of all layers.
    fn assemble(
        &self,
        case: Case,
        modality: Modality,
        correlated: &[[Tensor; 2]],
    ) -> Result<TowerPrompts> {
        let index = modality as usize;
        let side = &self.sides[index];
        let common = side.projection.forward(&self.common[case.index()])?;
        let mut own = correlated.iter().map(|pair| pair[index].clone());
        let prepend = match own.next() {
            Some(first) => Tensor::cat(&[first, common], 0)?,
            None => common,
        };
        let dynamic = DynamicPrompt {
            query: side.query.forward(&side.queries[case.index()])?,
            key: side.key.clone(),
            value: side.value.clone(),
            output: side.output.clone(),
        };
        Ok(TowerPrompts {
            prepend: Some(prepend),
            dynamic: Some(dynamic),
            slots: std::iter::once(Slot::Carry)
                .chain(own.map(Slot::Overwrite))
                .collect(),
        })
    }
}

impl PromptMethod for Dcp {
    fn tower(&self, case: Case, modality: Modality) -> Result<TowerPrompts> {
        self.assemble(case, modality, &self.correlated(case)?)
    }

    fn towers(&self, case: Case) -> Result<[Option<TowerPrompts>; 2]> {
        let correlated = self.correlated(case)?;
        let of = |modality| {
            case.has(modality)
                .then(|| self.assemble(case, modality, &correlated))
                .transpose()
        };
        Ok([of(Modality::Image)?, of(Modality::Text)?])
    }
}
