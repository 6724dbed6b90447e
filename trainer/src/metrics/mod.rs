//! Owns what a split's predictions are worth: metrics over whole splits, all together and by missing case.

pub mod accuracy;
pub mod confusion;
pub mod evaluation;
pub mod f1;
pub mod ranking;

use serde::{Deserialize, Serialize};
use shared::Case;
use shared::config::Task;

use crate::report::Values;
use confusion::Confusion;

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
    /// Area under the ROC curve: two classes, or the mean over labels.
    Auroc,
    /// Mean average precision over labels (multi-label).
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

    /// All figures of the task over these posts.
    ///
    /// Multi-class: accuracy, accuracy_top5 (from six classes on), f1_macro; for two classes auroc too.
    /// Multi-label: f1_macro and f1_micro at probability 0.5, and, because a margin alone moves that threshold,
    /// auroc and mean_average_precision.
    pub fn figures(&self, task: Task, classes: usize) -> Values {
        let mut values = Values::new();
        let actual: Vec<Vec<bool>> = self
            .targets
            .iter()
            .map(|set| (0..classes).map(|class| set.contains(&class)).collect())
            .collect();
        let column = |class: usize| -> Vec<bool> { actual.iter().map(|row| row[class]).collect() };
        match task {
            Task::MultiClass => {
                let (predicted, first) = (self.predicted(), self.first_targets());
                let chosen: Vec<Vec<bool>> = predicted
                    .iter()
                    .map(|&p| (0..classes).map(|class| class == p).collect())
                    .collect();
                values.insert("accuracy".into(), accuracy::top_k(&self.logits, &first, 1));
                if classes > 5 {
                    values.insert(
                        "accuracy_top5".into(),
                        accuracy::top_k(&self.logits, &first, 5),
                    );
                }
                values.insert(
                    "f1_macro".into(),
                    f1::macro_f1(&f1::count(&chosen, &actual, classes)),
                );
                if classes == 2 {
                    let margin: Vec<f32> = self.logits.iter().map(|row| row[1] - row[0]).collect();
                    values.extend(
                        ranking::auroc(&margin, &column(1)).map(|area| ("auroc".into(), area)),
                    );
                }
            }
            Task::MultiLabel => {
                let chosen: Vec<Vec<bool>> = self
                    .logits
                    .iter()
                    .map(|row| row.iter().map(|&logit| logit >= 0.0).collect())
                    .collect();
                let counts = f1::count(&chosen, &actual, classes);
                values.insert("f1_macro".into(), f1::macro_f1(&counts));
                values.insert("f1_micro".into(), f1::micro_f1(&counts));
                let scores = |class: usize| -> Vec<f32> {
                    self.logits.iter().map(|row| row[class]).collect()
                };
                let areas =
                    (0..classes).filter_map(|class| ranking::auroc(&scores(class), &column(class)));
                values.extend(mean(areas).map(|area| ("auroc".into(), area)));
                let precisions = (0..classes)
                    .filter_map(|class| ranking::average_precision(&scores(class), &column(class)));
                values.extend(mean(precisions).map(|mean| ("mean_average_precision".into(), mean)));
            }
        }
        values
    }

    /// The confusion matrix; only multi-class tasks have one.
    pub fn confusion(&self, classes: usize) -> Confusion {
        Confusion::count(&self.predicted(), &self.first_targets(), classes)
    }

    fn predicted(&self) -> Vec<usize> {
        self.logits.iter().map(|row| accuracy::best(row)).collect()
    }

    fn first_targets(&self) -> Vec<usize> {
        self.targets
            .iter()
            .map(|set| set.first().copied().unwrap_or(0))
            .collect()
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
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
        assert!(
            all.figures(Task::MultiLabel, 2)
                .contains_key("mean_average_precision")
        );
    }
}
