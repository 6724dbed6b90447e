//! Owns the description of a model as data: both CLIP towers, prompts, head, task and classes.

mod head;
mod prompt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::{CONTEXT, HEADS, INNER_WIDTH, LAYERS, PATCHES, SIDE, VOCABULARY, WIDTH};
pub use head::{DeptConfig, DplConfig, DplPlusConfig, HeadConfig};
pub use prompt::{DcpConfig, MapConfig, MapGrowth, MapInit, MapLevel, MapleConfig, PromptConfig};

/// The activation of a tower's feed-forward blocks, by its Hugging Face name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`: OpenAI's CLIP.
    #[default]
    QuickGelu,
    /// The exact GELU (with erf): later CLIPs.
    Gelu,
}

/// The image tower, as `vision_config` of a Hugging Face `config.json` (defaults are Hugging Face's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width d of the tower.
    pub hidden_size: usize,
    /// Width of the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads per block.
    pub num_attention_heads: usize,
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl VisionConfig {
    /// Number of patches: (image size / patch size) squared.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// The text tower, as `text_config` of a Hugging Face `config.json` (defaults are Hugging Face's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Width d of the tower.
    pub hidden_size: usize,
    /// Width of the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads per block.
    pub num_attention_heads: usize,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Context length in tokens.
    pub max_position_embeddings: usize,
    /// Activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            vocab_size: 49408,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

/// Both towers, as a Hugging Face CLIP `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Always `"clip"`.
    pub model_type: String,
    /// Width D of the joint space.
    pub projection_dim: usize,
    /// The image tower.
    pub vision_config: VisionConfig,
    /// The text tower.
    pub text_config: TextConfig,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            model_type: "clip".into(),
            projection_dim: 512,
            vision_config: VisionConfig::default(),
            text_config: TextConfig::default(),
        }
    }
}

impl ClipConfig {
    /// Reads a Hugging Face `config.json`; fields that do not concern the model are ignored.
    ///
    /// # Errors
    /// If it is not JSON, not a CLIP, or describes a model that cannot be.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|e| config_error(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Says which value is impossible, if one is.
    ///
    /// # Errors
    /// If a width is not a multiple of its heads, the image no multiple of the patch, or a size zero or absurd.
    pub fn check(&self) -> Result<()> {
        if self.model_type != "clip" {
            return Err(config_error(format!(
                "model_type is {:?}; only \"clip\" can be loaded",
                self.model_type
            )));
        }
        let (v, t) = (&self.vision_config, &self.text_config);
        for (field, value, most) in [
            ("projection_dim", self.projection_dim, WIDTH),
            ("vision_config.hidden_size", v.hidden_size, WIDTH),
            (
                "vision_config.intermediate_size",
                v.intermediate_size,
                INNER_WIDTH,
            ),
            (
                "vision_config.num_hidden_layers",
                v.num_hidden_layers,
                LAYERS,
            ),
            (
                "vision_config.num_attention_heads",
                v.num_attention_heads,
                HEADS,
            ),
            ("vision_config.image_size", v.image_size, SIDE),
            ("vision_config.patch_size", v.patch_size, SIDE),
            ("text_config.hidden_size", t.hidden_size, WIDTH),
            (
                "text_config.intermediate_size",
                t.intermediate_size,
                INNER_WIDTH,
            ),
            ("text_config.num_hidden_layers", t.num_hidden_layers, LAYERS),
            (
                "text_config.num_attention_heads",
                t.num_attention_heads,
                HEADS,
            ),
            ("text_config.vocab_size", t.vocab_size, VOCABULARY),
            (
                "text_config.max_position_embeddings",
                t.max_position_embeddings,
                CONTEXT,
            ),
        ] {
            if value == 0 || value > most {
                return Err(config_error(format!(
                    "{field} is {value}; it must be 1 to {most}"
                )));
            }
        }
        for (tower, width, heads) in [
            ("vision_config", v.hidden_size, v.num_attention_heads),
            ("text_config", t.hidden_size, t.num_attention_heads),
        ] {
            if width % heads != 0 {
                return Err(config_error(format!(
                    "{tower}.hidden_size {width} is no multiple of num_attention_heads {heads}"
                )));
            }
        }
        if v.image_size % v.patch_size != 0 {
            return Err(config_error(format!(
                "vision_config.image_size {} is no multiple of patch_size {}",
                v.image_size, v.patch_size
            )));
        }
        if v.patches() > PATCHES {
            return Err(config_error(format!(
                "vision_config.image_size {} and patch_size {} make {} patches; at most {PATCHES} are read",
                v.image_size,
                v.patch_size,
                v.patches()
            )));
        }
        Ok(())
    }
}

fn config_error(message: String) -> Error {
    Error::Config {
        file: "config.json".into(),
        message,
    }
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One class per post.
    MultiClass,
    /// Any number of classes per post.
    MultiLabel,
}

/// A whole classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Both towers.
    pub clip: ClipConfig,
    /// The prompts.
    pub prompt: PromptConfig,
    /// The head.
    pub head: HeadConfig,
    /// What is predicted.
    pub task: Task,
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attention costs the square of their number.
    #[test]
    fn patches_are_not_without_number() {
        let mut config = ClipConfig::default();
        config.vision_config.image_size = 4096;
        config.vision_config.patch_size = 64;
        config.check().unwrap();
        config.vision_config.patch_size = 32;
        let said = config.check().unwrap_err().to_string();
        assert!(said.contains("16384 patches; at most 4096"), "{said}");
    }
}
