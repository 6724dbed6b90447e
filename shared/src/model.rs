//! Owns the whole classifier: both towers, prompts and head; batches of mixed cases are split by case, and the tower of
//! a missing modality is never run.

mod batch;
pub mod begun;
pub mod pooled;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::clip::{Clip, Tokens};
use crate::config::{ModelConfig, Task};
use crate::error::{Error, Result};
use crate::head::{self, Head};
use crate::nn::Tensors;
use crate::nn::frozen::Memory;
use crate::prompt::folded::{FoldedPrompts, fold};
use crate::prompt::slots::TowerPrompts;
use crate::prompt::{self, PromptMethod};
use crate::rng::stream;

pub use crate::head::Features;
pub use batch::Batch;
use batch::Groups;

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
        let dtype = vb.dtype();
        Self::load_in(config, vb, dtype)
    }

    /// As [`Model::load`], with the towers' blocks in `dtype` (mixed precision): prompts enter them rounded, their pooled
    /// tokens leave them as all the rest is, and so do gradients on the way back.
    ///
    /// # Errors
    /// If the configuration is impossible, or a tensor is missing or of another shape.
    pub fn load_in(config: &ModelConfig, vb: VarBuilder<'_>, dtype: DType) -> Result<Self> {
        check(config)?;
        let (width, classes) = (config.clip.projection_dim, config.classes.len());
        Ok(Self {
            config: config.clone(),
            clip: Clip::load_in(&config.clip, vb.clone(), dtype)?,
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

    /// What frozen blocks keep for their gradients from now on.
    pub fn set_memory(&mut self, memory: Memory) {
        self.clip.set_memory(memory);
    }

    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        self.clip.device()
    }

    /// What the towers' blocks compute in.
    pub fn towers_dtype(&self) -> DType {
        self.clip.text.dtype()
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
        let groups = Groups::of(&batch.cases);
        let [image, text] = self.prompts_of(&groups)?;
        let pixels = groups.pixels(batch)?;
        let image = pixels.map(|pixels| self.image_features(&pixels, image.as_ref()));
        let tokens = groups.tokens(batch)?;
        let text = tokens.map(|tokens| self.text_features(&tokens, text.as_ref()));
        groups.features([image.transpose()?, text.transpose()?])
    }

    /// The prompts of both towers, for the posts of all cases: a tower runs once, for few posts at a time would make it
    /// read its weights for little.
    fn prompts_of(&self, groups: &Groups<'_>) -> Result<[Option<TowerPrompts>; 2]> {
        let mut prompts = [Vec::new(), Vec::new()];
        for (case, rows) in groups.iter() {
            for (of, own) in prompts.iter_mut().zip(self.prompts.towers(case)?) {
                of.extend(own.map(|own| (own, rows.len())));
            }
        }
        let [image, text] = prompts.map(TowerPrompts::join);
        Ok([image?, text?])
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
