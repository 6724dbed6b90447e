//! Owns what classifiers minimise: any head with any task meets its loss in [`Objective`].

pub mod arcface;
pub mod bce;
pub mod cross_entropy;
pub mod supcon;

use candle_core::{D, Tensor};
use shared::config::Task;
use shared::head::Head;
use shared::head::dpl::Dpl;
use shared::model::CaseOutput;
use shared::{Case, Error, Result};

use crate::settings::{LossSettings, Prototypes};
use arcface::Margin;
use bce::binary_cross_entropy;
use cross_entropy::cross_entropy;
use supcon::supervised_contrastive;

/// The loss of a run.
///
/// Prototypes are trained with an angular margin and a contrast between them (paper, eqs. 8-13); every other head with
/// cross-entropy, or binary cross-entropy averaged over the classes, as in the recipe of DCP.
#[derive(Clone, Debug)]
pub struct Objective {
    task: Task,
    settings: LossSettings,
    cases: Vec<Case>,
}

/// The loss of a batch and the parts it is the sum of.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is minimised: a scalar.
    pub total: Tensor,
    /// The mean over posts alone.
    pub classification: Tensor,
    /// The contrast between prototypes, unweighted, if the head has any.
    pub contrast: Option<Tensor>,
}

impl Objective {
    /// For a task, with the cases that occur in training: their prototypes are the active ones.
    pub fn new(task: Task, settings: LossSettings, mut cases: Vec<Case>) -> Self {
        if settings.prototypes == Prototypes::All {
            cases = Case::ALL.to_vec();
        }
        Self {
            task,
            settings,
            cases,
        }
    }

    /// The loss of a batch: `targets` [B, K] are 0 or 1, in the order of the batch's posts.
    ///
    /// # Errors
    /// If outputs and targets do not belong together.
    pub fn loss(&self, head: &dyn Head, outputs: &[CaseOutput], targets: &Tensor) -> Result<Loss> {
        let mut sum: Option<Tensor> = None;
        for output in outputs {
            let rows: Vec<u32> = output.rows.iter().map(|&row| row as u32).collect();
            let targets = targets.index_select(&Tensor::new(rows, targets.device())?, 0)?;
            let part = self.posts(head, output, &targets)?.sum_all()?;
            sum = Some(sum.map_or(Ok(part.clone()), |sum| sum + part)?);
        }
        let sum = sum.ok_or_else(|| Error::Input("the batch is empty".into()))?;
        let classification = (sum / targets.dim(0)? as f64)?;
        let Some(dpl) = head.as_dpl().filter(|_| self.settings.contrast > 0.0) else {
            return Ok(Loss {
                total: classification.clone(),
                classification,
                contrast: None,
            });
        };
        let contrast = self.contrast(dpl)?;
        let total = (&classification + (&contrast * self.settings.contrast)?)?;
        Ok(Loss {
            total,
            classification,
            contrast: Some(contrast),
        })
    }

    /// The losses [n] of the posts of one case.
    fn posts(&self, head: &dyn Head, output: &CaseOutput, targets: &Tensor) -> Result<Tensor> {
        let case = output.features.case;
        if let Some(dpl) = head.as_dpl() {
            let margin = self.margin(dpl, case);
            return match self.task {
                Task::MultiClass => margin.multi_class(&output.scores, targets),
                Task::MultiLabel => margin.multi_label(&output.scores, targets),
            };
        }
        let logits = head.logits(case, &output.scores)?;
        match self.task {
            Task::MultiClass => cross_entropy(&logits, targets),
            Task::MultiLabel => Ok(binary_cross_entropy(&logits, targets)?.mean(D::Minus1)?),
        }
    }

    fn margin(&self, dpl: &Dpl, case: Case) -> Margin {
        Margin {
            scale: dpl.scale(case),
            margin: self.settings.margin[case.index()],
            boundary: self.settings.boundary,
        }
    }

    fn contrast(&self, dpl: &Dpl) -> Result<Tensor> {
        let active = dpl.active(&self.cases)?;
        let (tau, reduction) = (self.settings.temperature, self.settings.reduction);
        supervised_contrastive(&active.directions, &active.classes, tau, reduction)
    }
}
