//! Owns the prompt methods: one file a method, met by the towers only at [`slots::TowerPrompts`].
//!
//! A new method is one new file that implements [`PromptPlan`] and [`PromptTensors`] for its settings and [`PromptMethod`]
//! for its loaded tensors, and one line in the table.

pub mod dcp;
pub mod folded;
pub mod map;
pub mod maple;
pub mod none;
pub mod slots;

use candle_core::Device;
use candle_nn::VarBuilder;

use crate::case::{Case, Modality};
use crate::config::{ClipConfig, PromptConfig};
use crate::error::{Error, Result};
use crate::limits::PROMPT_ROWS;
use crate::nn::Tensors;
use crate::parameter::{Parameter, draw};
use crate::rng::Rng;
use slots::TowerPrompts;

/// Standard deviation of fresh prompts and queries.
const PROMPT_STD: f64 = 0.02;

/// Prompts with their tensors loaded.
pub trait PromptMethod: Send + Sync {
    /// What enters one tower in one case; also for the modality that is missing, whose tower need not run.
    ///
    /// # Errors
    /// If the tensor library fails.
    fn tower(&self, case: Case, modality: Modality) -> Result<TowerPrompts>;

    /// What enters the towers that run in one case, image first. Methods that couple the towers share the work here.
    ///
    /// # Errors
    /// If the tensor library fails.
    fn towers(&self, case: Case) -> Result<[Option<TowerPrompts>; 2]> {
        let of = |modality| {
            case.has(modality)
                .then(|| self.tower(case, modality))
                .transpose()
        };
        Ok([of(Modality::Image)?, of(Modality::Text)?])
    }
}

/// What the settings of a prompt method say to inference.
pub trait PromptPlan {
    /// Says which setting is impossible with these towers, if one is.
    ///
    /// # Errors
    /// If the prompts do not fit the towers.
    fn check(&self, clip: &ClipConfig) -> Result<()>;

    /// How many rows enter the towers, and where: the shapes of the folded form.
    fn rows(&self) -> Rows;
}

/// Which tensors a method is trained as, and how they are read. Apart from [`PromptPlan`], so that inference links
/// nothing of it.
pub trait PromptTensors {
    /// The method's tensors under `prompt.`, in the order in which they are drawn.
    fn parameters(&self, clip: &ClipConfig) -> Vec<Parameter>;

    /// Reads the tensors; `vb` stands at `prompt`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    fn load(&self, clip: &ClipConfig, vb: VarBuilder<'_>) -> Result<Box<dyn PromptMethod>>;
}

/// Rows that a method puts into a tower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The first block with rows of its own.
    pub first: usize,
    /// Constant rows in front of its input.
    pub fixed: usize,
    /// Rows computed from the post, behind the constant ones; only at block 0.
    pub dynamic: usize,
    /// Rows that are overwritten at the inputs of the blocks after it.
    pub renewed: usize,
    /// Rows that come in front of the others at the inputs of the blocks after it.
    pub grown: usize,
    /// Keys, and as many values, in front of those of all blocks with rows of their own.
    pub pairs: usize,
    /// Blocks with rows of their own, the first one counted.
    pub depth: usize,
}

/// The table of methods, as a reference to any of their traits.
macro_rules! table {
    ($config:expr) => {
        match $config {
            PromptConfig::None => &none::NoPrompts,
            PromptConfig::Maple(settings) => settings,
            PromptConfig::Map(settings) => settings,
            PromptConfig::Dcp(settings) => settings,
        }
    };
}

/// What the settings of a prompt method say to inference.
pub fn plan(config: &PromptConfig) -> &dyn PromptPlan {
    table!(config)
}

/// Which tensors a prompt method has.
pub fn tensors(config: &PromptConfig) -> &dyn PromptTensors {
    table!(config)
}

/// Reads the prompts of `config`; `vb` stands at `prompt`.
///
/// # Errors
/// If the settings do not fit the towers, or a tensor is missing or of another shape.
pub fn load(
    config: &PromptConfig,
    clip: &ClipConfig,
    vb: VarBuilder<'_>,
) -> Result<Box<dyn PromptMethod>> {
    plan(config).check(clip)?;
    tensors(config).load(clip, vb)
}

/// Fresh prompts under their full names (`prompt.*`).
///
/// # Errors
/// If the settings do not fit the towers, or the tensors cannot be made on the device.
pub fn initialise(
    config: &PromptConfig,
    clip: &ClipConfig,
    rng: &mut Rng,
    device: &Device,
) -> Result<Tensors> {
    plan(config).check(clip)?;
    draw(&tensors(config).parameters(clip), rng, device)
}

/// The width of a modality's tower.
pub fn width(clip: &ClipConfig, modality: Modality) -> usize {
    match modality {
        Modality::Image => clip.vision_config.hidden_size,
        Modality::Text => clip.text_config.hidden_size,
    }
}

/// Checks what all methods share: how many rows, and at which blocks, the first one and how many.
fn check_sizes(
    method: &str,
    length: usize,
    (first, depth): (usize, usize),
    clip: &ClipConfig,
) -> Result<()> {
    let layers = clip
        .vision_config
        .num_hidden_layers
        .min(clip.text_config.num_hidden_layers);
    let problem = if length == 0 || length > PROMPT_ROWS {
        format!("length is {length}; it must be 1 to {PROMPT_ROWS}")
    } else if first >= layers {
        format!("first_block is {first}; the towers have no block of that number, but {layers}")
    } else if depth == 0 || depth > layers - first {
        format!("depth is {depth}; the towers allow 1 to {}", layers - first)
    } else {
        return Ok(());
    };
    Err(Error::Input(format!("prompt method {method}: {problem}")))
}
