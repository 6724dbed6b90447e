//! Owns CLIP: both towers with Hugging Face tensor names and with slots for prompts.

pub mod init;
pub mod names;
pub mod text;
mod tower;
pub mod vision;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::config::ClipConfig;
use crate::error::Result;
use crate::nn::frozen::Memory;

pub use init::initialise;

/// A batch of texts as token ids.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Ids [B, L], u32, zero padded.
    pub ids: Tensor,
    /// Index of the end token in each row, B of them. Data, not an argmax of ids: that differs between devices. They stay
    /// on the host, which cuts the padding off by them; a device would have to be waited for.
    pub eot: Vec<usize>,
}

/// Both towers.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The image tower.
    pub vision: vision::VisionTower,
    /// The text tower.
    pub text: text::TextTower,
}

impl Clip {
    /// What frozen blocks keep for their gradients from now on.
    pub fn set_memory(&mut self, memory: Memory) {
        self.vision.set_memory(memory);
        self.text.set_memory(memory);
    }

    /// Where the towers are.
    pub fn device(&self) -> &Device {
        self.text.device()
    }

    /// Reads both towers from Hugging Face names at the root of `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(config: &ClipConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let dtype = vb.dtype();
        Self::load_in(config, vb, dtype)
    }

    /// As [`Clip::load`], with embeddings and blocks in `dtype`. What comes after them, which may be trained, stays as
    /// `vb` has it.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load_in(config: &ClipConfig, vb: VarBuilder<'_>, dtype: DType) -> Result<Self> {
        Ok(Self {
            vision: vision::VisionTower::load(config, vb.clone(), dtype)?,
            text: text::TextTower::load(config, vb, dtype)?,
        })
    }
}
