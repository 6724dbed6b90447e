//! Owns the output heads: one file a head, met by the model at the trait [`Head`] and by inference in one folded form.
//!
//! Settings have two traits, so that inference links no tensor library: [`HeadPlan`] is what it needs, [`HeadTensors`]
//! what training needs. A new head is one new file that implements all three, and one line in the table.

pub mod background;
pub mod dept;
pub mod dpl;
pub mod dpl_plus;
pub mod features;
pub mod folded;
pub mod joint;
pub mod linear;
pub mod means;
mod part;
pub mod prototype;
pub mod taught;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::config::HeadConfig;
use crate::error::Result;
use crate::infer::weights::Weights;
use crate::nn::Tensors;
use crate::parameter::{Parameter, draw};
use crate::rng::Rng;
pub use background::Background;
pub use features::Features;
pub use folded::FoldedHead;
use means::Measure;
pub use part::{Part, ScoreKind};
use prototype::ActivePrototypes;

/// Standard deviation of a fresh linear layer's weight, as in the code of Deep Correlated Prompting.
const WEIGHT_STD: f64 = 0.02;

/// What a modality's contribution to a class is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The cosine between the features and the class's prototype, or the modality's summand of a joint one, -1 to 1.
    Cosine,
    /// The modality's summand of the logit, the bias left out.
    Logit,
}

/// What a head says of one post.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What softmax or sigmoid act on, `[K]`.
    pub logits: Vec<f32>,
    /// What the image and the text say for each class, `[K]`; absent for a missing modality.
    pub parts: [Option<Vec<f32>>; 2],
}

/// A head with its tensors loaded.
pub trait Head: Send + Sync {
    /// Scores [n, K] before any scale: cosines z for prototypes, logits for linear heads.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    fn scores(&self, features: &Features) -> Result<Tensor>;

    /// Logits [n, K] of scores: what softmax or sigmoid act on.
    ///
    /// # Errors
    /// If the tensor library fails.
    fn logits(&self, case: Case, scores: &Tensor) -> Result<Tensor>;

    /// What the image and the text say for each class, [n, K] each, absent for a missing modality.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    fn contributions(&self, features: &Features) -> Result<[Option<Tensor>; 2]>;

    /// What the contributions are measured in.
    fn evidence(&self) -> Evidence;

    /// The tensors as a bundle carries them, under their full names (`head.*`).
    ///
    /// # Errors
    /// If the tensor library fails.
    fn fold(&self) -> Result<Tensors>;

    /// What training holds against the answers: weighted sets of scores, the losses of which are added up. Of the
    /// posts of one case, with the `scores` they were given.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    fn parts(&self, _features: &Features, scores: &Tensor) -> Result<Vec<Part>> {
        Ok(vec![Part::whole(scores, ScoreKind::Logit)])
    }

    /// The prototypes that posts of these cases are compared with, for losses that act on the prototypes themselves;
    /// none for heads without.
    ///
    /// # Errors
    /// If the head has prototypes and no case is given, or the tensor library fails.
    fn prototypes(&self, _cases: &[Case]) -> Result<Option<ActivePrototypes>> {
        Ok(None)
    }
}

/// What the settings of a head say to inference. D is the width of the joint space, K the number of classes.
pub trait HeadPlan {
    /// Says which setting is impossible, if one is.
    ///
    /// # Errors
    /// If a setting makes no head.
    fn check(&self) -> Result<()>;

    /// Takes out the tensors that come from [`Head::fold`], and makes the form of them that inference computes.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    fn folded(&self, width: usize, classes: usize, weights: &mut Weights) -> Result<FoldedHead>;
}

/// Which tensors a head is trained as, and how they are read. Apart from [`HeadPlan`], so that inference links nothing
/// of it.
pub trait HeadTensors {
    /// The head's tensors under `head.`, in the order in which they are drawn.
    fn parameters(&self, width: usize, classes: usize) -> Vec<Parameter>;

    /// The tensors, by full name, that can be measured on the features of the training posts instead of drawn.
    fn measured(&self) -> Vec<(String, Measure)> {
        Vec::new()
    }

    /// Reads the tensors; `vb` stands at `head`. `folded` tells that they come from [`Head::fold`].
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    fn load(
        &self,
        width: usize,
        classes: usize,
        folded: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Box<dyn Head>>;
}

/// The table of heads, as a reference to any of their traits.
macro_rules! table {
    ($config:expr) => {
        match $config {
            HeadConfig::Linear => &linear::LinearSettings,
            HeadConfig::Dept(settings) => settings,
            HeadConfig::Dpl(settings) => settings,
            HeadConfig::DplPlus(settings) => settings,
        }
    };
}

/// What the settings of a head say to inference.
pub fn plan(config: &HeadConfig) -> &dyn HeadPlan {
    table!(config)
}

/// Which tensors a head has.
pub fn tensors(config: &HeadConfig) -> &dyn HeadTensors {
    table!(config)
}

/// Reads the head of `config` as it is trained; `vb` stands at `head`.
///
/// # Errors
/// If the settings are impossible, or a tensor is missing or of another shape.
pub fn load(
    config: &HeadConfig,
    width: usize,
    classes: usize,
    vb: VarBuilder<'_>,
) -> Result<Box<dyn Head>> {
    plan(config).check()?;
    tensors(config).load(width, classes, false, vb)
}

/// A fresh head under its full names (`head.*`). See [`means::ClassMeans`] for a better start of prototypes.
///
/// # Errors
/// If the settings are impossible, or the tensors cannot be made on the device.
pub fn initialise(
    config: &HeadConfig,
    width: usize,
    classes: usize,
    rng: &mut Rng,
    device: &Device,
) -> Result<Tensors> {
    plan(config).check()?;
    draw(&tensors(config).parameters(width, classes), rng, device)
}
