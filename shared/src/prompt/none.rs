//! Owns the absence of prompts: only norms, image projection and head are trained.

use candle_nn::VarBuilder;

use super::slots::TowerPrompts;
use super::{PromptMethod, PromptPlan, PromptTensors, Rows};
use crate::case::{Case, Modality};
use crate::config::ClipConfig;
use crate::error::Result;
use crate::parameter::Parameter;

/// No prompts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompts;

impl PromptPlan for NoPrompts {
    fn check(&self, _: &ClipConfig) -> Result<()> {
        Ok(())
    }

    fn rows(&self) -> Rows {
        Rows::default()
    }
}

impl PromptTensors for NoPrompts {
    fn parameters(&self, _: &ClipConfig) -> Vec<Parameter> {
        Vec::new()
    }

    fn load(&self, _: &ClipConfig, _: VarBuilder<'_>) -> Result<Box<dyn PromptMethod>> {
        Ok(Box::new(NoPrompts))
    }
}

impl PromptMethod for NoPrompts {
    fn tower(&self, _: Case, _: Modality) -> Result<TowerPrompts> {
        Ok(TowerPrompts::default())
    }

    fn towers(&self, _: Case) -> Result<[Option<TowerPrompts>; 2]> {
        Ok([None, None])
    }
}
