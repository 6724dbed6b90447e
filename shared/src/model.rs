//! Owns the whole classifier: both towers, prompts and head; batches of mixed cases are split by case, and the tower of
//! a missing modality is never run.

pub mod pooled;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;

use crate::case::{Case, Modality};
use crate::clip::{Clip, Tokens};
use crate::config::{ModelConfig, Task};
use crate::error::{Error, Result};
use crate::head::{self, Head};
use crate::nn::Tensors;
use crate::prompt::folded::{FoldedPrompts, fold};
use crate::prompt::slots::TowerPrompts;
use crate::prompt::{self, PromptMethod};
use crate::rng::stream;

pub use crate::head::Features;

/// B posts of any mix of cases.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The case of each post.
    pub cases: Vec<Case>,
    /// Pixels [I, 3, S, S] of the I posts that have an image, in the posts' order.
    pub pixels: Option<Tensor>,
    /// Tokens of the posts that have a text, in the posts' order, padded to the context length.
    pub tokens: Option<Tokens>,
}

/// What the model says about the posts of one case.
#[derive(Clone, Debug)]
pub struct CaseOutput {
    /// Which posts of the batch these are, ascending.
    pub rows: Vec<usize>,
    /// Their features.
    pub features: Features,
    /// Their scores [n, K] before any scale.
    pub scores: Tensor,
}

/// Both towers, prompts and head.
pub struct Model {
    config: ModelConfig,
    clip: Clip,
    prompts: Box<dyn PromptMethod>,
    head: Box<dyn Head>,
}

impl Model {
    /// Reads a model as it is trained: Hugging Face CLIP names at the root of `vb`, `prompt.*` and `head.*`.
    ///
    /// # Errors
    /// If the configuration is impossible, or a tensor is missing or of another shape.
    pub fn load(config: &ModelConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check(config)?;
        let (width, classes) = (config.clip.projection_dim, config.classes.len());
        Ok(Self {
            config: config.clone(),
            clip: Clip::load(&config.clip, vb.clone())?,
            prompts: prompt::load(&config.prompt, &config.clip, vb.pp("prompt"))?,
            head: head::load(&config.head, width, classes, vb.pp("head"))?,
        })
    }

    /// Reads a model as it is exported: what depends on the case alone is constant ([`Model::fold`]).
    ///
    /// # Errors
    /// If the configuration is impossible, or a tensor is missing or of another shape.
    pub fn load_folded(config: &ModelConfig, vb: VarBuilder<'_>) -> Result<Self> {
        check(config)?;
        let (width, classes) = (config.clip.projection_dim, config.classes.len());
        let rows = prompt::plan(&config.prompt).rows();
        Ok(Self {
            config: config.clone(),
            clip: Clip::load(&config.clip, vb.clone())?,
            prompts: Box::new(FoldedPrompts::load(rows, &config.clip, &vb.pp("prompt"))?),
            head: head::tensors(&config.head).load(width, classes, true, vb.pp("head"))?,
        })
    }

    /// The folded prompts and head (`prompt.*`, `head.*`) that [`Model::load_folded`] reads.
    ///
    /// # Errors
    /// If the model is folded already, or the tensor library fails.
    pub fn fold(&self) -> Result<Tensors> {
        let mut tensors = fold(self.prompts.as_ref())?;
        tensors.append(&mut self.head.fold()?);
        Ok(tensors)
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The head.
    pub fn head(&self) -> &dyn Head {
        self.head.as_ref()
    }

    /// The prompts.
    pub fn prompts(&self) -> &dyn PromptMethod {
        self.prompts.as_ref()
    }

    /// Image features [n, D] of pixels [n, 3, S, S], projected, not normalised.
    ///
    /// # Errors
    /// If the pixels have another size than the configuration's.
    pub fn image_features(
        &self,
        pixels: &Tensor,
        prompts: Option<&TowerPrompts>,
    ) -> Result<Tensor> {
        self.clip.vision.forward(pixels, prompts)
    }

    /// Text features [n, D] of tokens, projected, not normalised.
    ///
    /// # Errors
    /// If the tokens are longer than the context.
    pub fn text_features(&self, tokens: &Tokens, prompts: Option<&TowerPrompts>) -> Result<Tensor> {
        self.clip.text.forward(tokens, prompts)
    }

    /// The features of a batch, case by case in the order of the codes, with the posts they belong to.
    ///
    /// # Errors
    /// If the batch is empty or its parts do not belong together, or the tensor library fails.
    pub fn features(&self, batch: &Batch) -> Result<Vec<(Vec<usize>, Features)>> {
        batch.check()?;
        let mut groups = Vec::new();
        for case in Case::ALL {
            let rows = places_of(&batch.cases, case);
            if rows.is_empty() {
                continue;
            }
            let [image, text] = self.prompts.towers(case)?;
            let pixels = batch.pixels_of(case)?;
            let tokens = batch.tokens_of(case)?;
            let image = pixels
                .map(|pixels| self.image_features(&pixels, image.as_ref()))
                .transpose()?;
            let text = tokens
                .map(|tokens| self.text_features(&tokens, text.as_ref()))
                .transpose()?;
            groups.push((rows, Features { case, image, text }));
        }
        Ok(groups)
    }

    /// Features and scores of a batch, case by case in the order of the codes.
    ///
    /// # Errors
    /// As [`Model::features`].
    pub fn forward(&self, batch: &Batch) -> Result<Vec<CaseOutput>> {
        self.outputs(self.features(batch)?)
    }

    fn outputs(&self, groups: Vec<(Vec<usize>, Features)>) -> Result<Vec<CaseOutput>> {
        let outputs = groups.into_iter().map(|(rows, features)| {
            let scores = self.head.scores(&features)?;
            Ok(CaseOutput {
                rows,
                features,
                scores,
            })
        });
        outputs.collect()
    }

    /// The logits [n, K] of one case's output: what softmax or sigmoid act on.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn logits(&self, output: &CaseOutput) -> Result<Tensor> {
        self.head.logits(output.features.case, &output.scores)
    }
}

impl Batch {
    fn check(&self) -> Result<()> {
        let images = self.pixels.as_ref().map_or(Ok(0), |pixels| pixels.dim(0))?;
        let texts = self
            .tokens
            .as_ref()
            .map_or(Ok(0), |tokens| tokens.ids.dim(0))?;
        for (modality, given) in [(Modality::Image, images), (Modality::Text, texts)] {
            let needed = self.cases.iter().filter(|case| case.has(modality)).count();
            if needed != given {
                return Err(Error::Input(format!(
                    "the batch has {given} {name} rows, but {needed} of its posts have the {name}",
                    name = modality.name()
                )));
            }
        }
        match self.cases.is_empty() {
            true => Err(Error::Input("the batch is empty".into())),
            false => Ok(()),
        }
    }

    fn pixels_of(&self, case: Case) -> Result<Option<Tensor>> {
        let rows = rows_of(&self.cases, case, Modality::Image);
        rows.zip(self.pixels.as_ref())
            .map(|(rows, pixels)| rows.of(pixels))
            .transpose()
    }

    fn tokens_of(&self, case: Case) -> Result<Option<Tokens>> {
        let rows = rows_of(&self.cases, case, Modality::Text);
        rows.zip(self.tokens.as_ref())
            .map(|(rows, tokens)| {
                Ok(Tokens {
                    ids: rows.of(&tokens.ids)?,
                    eot: rows.of(&tokens.eot)?,
                })
            })
            .transpose()
    }
}

/// The places of the posts of one case in a batch.
fn places_of(cases: &[Case], case: Case) -> Vec<usize> {
    (0..cases.len())
        .filter(|&place| cases[place] == case)
        .collect()
}

/// Of the rows that carry one modality, those of one case; none if the case lacks the modality.
fn rows_of(cases: &[Case], case: Case, modality: Modality) -> Option<Rows> {
    let carriers = cases.iter().filter(|case| case.has(modality));
    let rows: Vec<u32> = carriers
        .zip(0u32..)
        .filter(|(of, _)| **of == case)
        .map(|(_, row)| row)
        .collect();
    let all = rows.len() == cases.iter().filter(|case| case.has(modality)).count();
    case.has(modality).then_some(Rows { rows, all })
}

/// A choice of rows, which is often all of them.
struct Rows {
    rows: Vec<u32>,
    all: bool,
}

impl Rows {
    fn of(&self, tensor: &Tensor) -> Result<Tensor> {
        if self.all {
            return Ok(tensor.clone());
        }
        let index = Tensor::new(self.rows.as_slice(), tensor.device())?;
        Ok(tensor.index_select(&index, 0)?)
    }
}

/// Says what is impossible about a configuration, if something is.
///
/// # Errors
/// If the towers, prompts or head are impossible, or there are too few classes, or two of one name.
pub fn check(config: &ModelConfig) -> Result<()> {
    config.clip.check()?;
    prompt::plan(&config.prompt).check(&config.clip)?;
    head::plan(&config.head).check()?;
    let mut names: Vec<&String> = config.classes.iter().collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    let least = if config.task == Task::MultiClass {
        2
    } else {
        1
    };
    let message = match (names.len(), twice) {
        (count, _) if count < least => format!("{count} classes; this task needs at least {least}"),
        (_, Some(pair)) => format!(
            "two classes are called {:?}; give each its own name",
            pair[0]
        ),
        _ => return Ok(()),
    };
    Err(Error::Config {
        file: "model configuration".into(),
        message,
    })
}

/// Fresh prompts and head (`prompt.*`, `head.*`) from the streams "prompt" and "head" of `seed`, so that a different
/// head leaves the prompts as they were.
///
/// # Errors
/// If the configuration is impossible, or the tensors cannot be made on the device.
pub fn initialise(config: &ModelConfig, seed: u64, device: &Device) -> Result<Tensors> {
    check(config)?;
    let (width, classes) = (config.clip.projection_dim, config.classes.len());
    let mut tensors = prompt::initialise(
        &config.prompt,
        &config.clip,
        &mut stream(seed, "prompt"),
        device,
    )?;
    let mut head = head::initialise(
        &config.head,
        width,
        classes,
        &mut stream(seed, "head"),
        device,
    )?;
    tensors.append(&mut head);
    Ok(tensors)
}

/// Every trained tensor with its shape: trained prompts, the head and, if asked for, CLIP's last norms and its image
/// projection, as the reference code of Deep Correlated Prompting trains them (the text projection stays frozen).
pub fn trainable_shapes(
    config: &ModelConfig,
    norms_and_projection: bool,
) -> BTreeMap<String, Vec<usize>> {
    let (width, classes) = (config.clip.projection_dim, config.classes.len());
    let prompts = prompt::tensors(&config.prompt).parameters(&config.clip);
    let head = head::tensors(&config.head).parameters(width, classes);
    let trained = prompts
        .into_iter()
        .chain(head)
        .filter(|parameter| parameter.trained);
    let mut shapes: BTreeMap<_, _> = trained
        .map(|parameter| (parameter.name, parameter.shape))
        .collect();
    if norms_and_projection {
        let (vision, text) = (
            config.clip.vision_config.hidden_size,
            config.clip.text_config.hidden_size,
        );
        for part in ["weight", "bias"] {
            shapes.insert(format!("text_model.final_layer_norm.{part}"), vec![text]);
            shapes.insert(format!("vision_model.post_layernorm.{part}"), vec![vision]);
        }
        shapes.insert("visual_projection.weight".into(), vec![width, vision]);
    }
    shapes
}

/// The names of [`trainable_shapes`], sorted.
pub fn trainable_names(config: &ModelConfig, norms_and_projection: bool) -> Vec<String> {
    trainable_shapes(config, norms_and_projection)
        .into_keys()
        .collect()
}
