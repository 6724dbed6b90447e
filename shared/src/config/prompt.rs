//! Owns the settings of the prompt methods.

use serde::{Deserialize, Serialize};

/// Which prompts are learnt (`docs/method.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptConfig {
    /// No prompts: only norms, image projection and head are trained.
    None,
    /// MaPLe: image prompts are computed from text prompts.
    Maple(MapleConfig),
    /// Missing-aware prompts: constant ones by case.
    Map(MapConfig),
    /// Deep Correlated Prompting.
    Dcp(DcpConfig),
}

/// Sizes of MaPLe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapleConfig {
    /// Prompt tokens in front of block 0.
    pub length: usize,
    /// Blocks whose input gets fresh prompts.
    pub depth: usize,
    /// Whether each case has text prompts of its own; MaPLe knows no cases.
    pub by_case: bool,
}

impl Default for MapleConfig {
    fn default() -> Self {
        Self {
            length: 36,
            depth: 6,
            by_case: false,
        }
    }
}

/// Missing-aware prompts: sizes and where they enter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// Prompt tokens per layer; at the level `attention` one half are keys, the other values.
    pub length: usize,
    /// Blocks that get prompts of their own.
    pub depth: usize,
    /// The first of them. What the blocks before it compute depends on nothing that is trained.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_block: usize,
    /// Where they enter.
    pub level: MapLevel,
    /// What becomes of the prompts of the layers before, at the level `input`.
    pub growth: MapGrowth,
    /// First values.
    pub init: MapInit,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self {
            length: 36,
            depth: 6,
            first_block: 0,
            level: MapLevel::Input,
            growth: MapGrowth::Replace,
            init: MapInit::Normal,
        }
    }
}

/// For serde: left out of a file, so that older runs, cells and bundles stay what they are.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Where missing-aware prompts enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapLevel {
    /// Tokens in front of a block's input.
    #[default]
    Input,
    /// Keys and values in front of those of a block's attention.
    Attention,
}

/// What becomes of the prompts of earlier layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapGrowth {
    /// The next layer's prompts overwrite them.
    #[default]
    Replace,
    /// They stay, and the next layer's come in front of them.
    Accumulate,
}

/// First values of missing-aware prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapInit {
    /// N(0, 0.02).
    #[default]
    Normal,
    /// Zeros but for one row of ones, another one for each case.
    OneHot,
}

/// Sizes of Deep Correlated Prompting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcpConfig {
    /// Prompt tokens in front of block 0: a third correlated, a third common, a third dynamic.
    pub length: usize,
    /// Blocks whose input gets fresh correlated prompts.
    pub depth: usize,
    /// The bottlenecks are this many times narrower than their inputs.
    pub reduction: usize,
    /// Whether the dynamic queries are trained (the paper) or stay at their random start (the reference code).
    pub train_queries: bool,
}

impl Default for DcpConfig {
    fn default() -> Self {
        Self {
            length: 36,
            depth: 6,
            reduction: 16,
            train_queries: false,
        }
    }
}
