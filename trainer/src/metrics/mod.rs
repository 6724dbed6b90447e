//! Owns what a split's predictions are worth: metrics over whole splits, all together and by missing case.

pub mod accuracy;
pub mod bootstrap;
pub mod calibration;
pub mod compare;
pub mod confusion;
pub mod decisions;
pub mod evaluation;
pub mod f1;
pub mod figure;
pub mod quantile;
pub mod ranking;
pub mod threshold;

use serde::{Deserialize, Serialize};
use shared::Case;
use shared::config::Task;

use crate::report::Values;
use confusion::Confusion;
use figure::Figure;

/// The predictions of a split: one row per post.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// The case each post was classified in.
    pub cases: Vec<Case>,
    /// Un-margined logits, K each.
    pub logits: Vec<Vec<f32>>,
    /// The true classes, one for multi-class, any number for multi-label.
    pub targets: Vec<Vec<usize>>,
}

/// The metric that decides which checkpoint is the best; larger is better for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Share of right first guesses (multi-class).
    Accuracy,
    /// Mean F1 of the classes.
    F1Macro,
    /// Area under the ROC curve, mean over classes.
    Auroc,
    /// Average precision, mean over classes.
    MeanAveragePrecision,
}

impl Selection {
    /// The usual one of a task.
    pub fn of(task: Task) -> Self {
        match task {
            Task::MultiClass => Selection::Accuracy,
            Task::MultiLabel => Selection::F1Macro,
        }
    }

    /// Its name among the figures.
    pub fn name(self) -> &'static str {
        match self {
            Selection::Accuracy => "accuracy",
            Selection::F1Macro => "f1_macro",
            Selection::Auroc => "auroc",
            Selection::MeanAveragePrecision => "mean_average_precision",
        }
    }
}

impl Predictions {
    /// How many posts there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Adds a post.
    pub fn push(&mut self, case: Case, logits: Vec<f32>, targets: Vec<usize>) {
        self.cases.push(case);
        self.logits.push(logits);
        self.targets.push(targets);
    }

    /// The logits of each post.
    pub fn logits(&self) -> &[Vec<f32>] {
        &self.logits
    }

    /// Adds the posts of another split or case.
    pub fn extend(&mut self, other: Predictions) {
        self.cases.extend(other.cases);
        self.logits.extend(other.logits);
        self.targets.extend(other.targets);
    }

    /// Only the posts of one case.
    pub fn of_case(&self, case: Case) -> Self {
        let mut only = Self::default();
        for ((&own, logits), targets) in self.cases.iter().zip(&self.logits).zip(&self.targets) {
            if own == case {
                only.push(own, logits.clone(), targets.clone());
            }
        }
        only
    }

    /// All figures of the task over these posts: [`figure::names`] says which; those that these posts do not define
    /// are absent.
    pub fn figures(&self, task: Task, classes: usize) -> Values {
        figure::all(self, task, classes)
    }

    /// One figure, without the work for the others.
    pub fn figure(&self, name: &str, task: Task, classes: usize) -> Option<f64> {
        Figure::of(self, name, task, classes)?.value(&vec![1; self.len()])
    }

    /// The confusion matrix; only multi-class tasks have one. Posts without a target or with a logit that is not a
    /// number are in no cell.
    pub fn confusion(&self, classes: usize) -> Confusion {
        let posts = self.logits.iter().zip(&self.targets);
        let pairs = posts.filter_map(|(row, set)| Some((accuracy::best(row)?, *set.first()?)));
        Confusion::count(pairs, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_case() {
        let mut all = Predictions::default();
        all.push(Case::Complete, vec![2.0, 1.0], vec![0]);
        all.push(Case::TextMissing, vec![2.0, 1.0], vec![1]);
        all.push(Case::TextMissing, vec![0.0, 1.0], vec![1]);
        let figures = |p: &Predictions| p.figures(Task::MultiClass, 2);
        assert!((figures(&all)["accuracy"] - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(figures(&all.of_case(Case::TextMissing))["accuracy"], 0.5);
        assert_eq!(all.of_case(Case::ImageMissing).len(), 0);
        assert_eq!(all.confusion(2).counts, [[1, 0], [1, 1]]);
        for (name, value) in all.figures(Task::MultiLabel, 2) {
            assert_eq!(all.figure(&name, Task::MultiLabel, 2), Some(value));
        }
    }
}
