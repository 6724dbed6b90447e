//! Owns what classifiers minimise: any head with any task meets its loss in [`Objective`].

pub mod arcface;
pub mod bce;
pub mod cross_entropy;
pub mod supcon;

use candle_core::{D, Tensor};
use shared::config::Task;
use shared::head::{Head, ScoreKind};
use shared::model::CaseOutput;
use shared::{Case, Error, Result};

use crate::settings::{LossSettings, Prototypes};
use arcface::Margin;
use bce::binary_cross_entropy;
use cross_entropy::cross_entropy;
use supcon::supervised_contrastive;

/// The loss of a run.
///
/// A head says which scores are held against the answers ([`Head::parts`]): cosines get an angular margin, and prototypes
/// a contrast between them (paper, eqs. 8-13); logits meet cross-entropy, or binary cross-entropy averaged over the
/// classes, as in the recipe of DCP.
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

    /// The loss of a batch: `targets` [B, K] are 0 or 1, in the order of the batch's posts. `progress` is the share of
    /// training that is done, 0 to 1.
    ///
    /// # Errors
    /// If outputs and targets do not belong together.
    pub fn loss(
        &self,
        head: &dyn Head,
        outputs: &[CaseOutput],
        targets: &Tensor,
        progress: f64,
    ) -> Result<Loss> {
        let mut sum: Option<Tensor> = None;
        for output in outputs {
            let rows: Vec<u32> = output.rows.iter().map(|&row| row as u32).collect();
            let targets = targets.index_select(&Tensor::new(rows, targets.device())?, 0)?;
            let part = self.posts(head, output, &targets, progress)?.sum_all()?;
            sum = Some(sum.map_or(Ok(part.clone()), |sum| sum + part)?);
        }
        let sum = sum.ok_or_else(|| Error::Input("the batch is empty".into()))?;
        let classification = (sum / targets.dim(0)? as f64)?;
        let prototypes = match self.settings.contrast > 0.0 {
            true => head.prototypes(&self.cases)?,
            false => None,
        };
        let Some(prototypes) = prototypes else {
            return Ok(Loss {
                total: classification.clone(),
                classification,
                contrast: None,
            });
        };
        let contrast = supervised_contrastive(
            &prototypes.directions,
            &prototypes.classes,
            self.settings.temperature,
            self.settings.reduction,
        )?;
        let total = (&classification + (&contrast * self.settings.contrast)?)?;
        Ok(Loss {
            total,
            classification,
            contrast: Some(contrast),
        })
    }

    /// The losses `[n]` of the posts of one case.
    fn posts(
        &self,
        head: &dyn Head,
        output: &CaseOutput,
        targets: &Tensor,
        progress: f64,
    ) -> Result<Tensor> {
        let case = output.features.case;
        let mut sum: Option<Tensor> = None;
        for part in head.parts(&output.features, &output.scores)? {
            let losses = match part.kind {
                ScoreKind::Cosine => {
                    let margin = self.margin(case, progress);
                    let cosines = margin.on_targets(&part.scores, targets)?;
                    let logits = head.logits(case, &cosines)?;
                    match self.task {
                        Task::MultiClass => cross_entropy(&logits, targets)?,
                        // The paper's eq. 10 sums over the classes.
                        Task::MultiLabel => {
                            binary_cross_entropy(&logits, targets)?.sum(D::Minus1)?
                        }
                    }
                }
                ScoreKind::Logit => match self.task {
                    Task::MultiClass => cross_entropy(&part.scores, targets)?,
                    Task::MultiLabel => {
                        binary_cross_entropy(&part.scores, targets)?.mean(D::Minus1)?
                    }
                },
            };
            let losses = (losses * part.weight)?;
            sum = Some(sum.map_or(Ok(losses.clone()), |sum| sum + losses)?);
        }
        sum.ok_or_else(|| Error::Input("the head has no scores to train on".into()))
    }

    fn margin(&self, case: Case, progress: f64) -> Margin {
        Margin {
            margin: self.settings.margin[case.index()]
                * self.settings.margin_schedule.share(progress),
            boundary: self.settings.boundary,
        }
    }
}
