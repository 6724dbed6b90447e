//! Owns CLIP: both towers with Hugging Face tensor names and with slots for prompts.

pub mod init;
pub mod names;
pub mod text;
mod tower;
pub mod vision;

use candle_core::Tensor;
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
    /// Index of the end token in each row `[B]`, u32. Data, not an argmax of ids: that differs between devices.
    pub eot: Tensor,
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

    /// Reads both towers from Hugging Face names at the root of `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(config: &ClipConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            vision: vision::VisionTower::load(config, vb.clone())?,
            text: text::TextTower::load(config, vb)?,
        })
    }
}
