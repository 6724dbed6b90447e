//! Owns figures by name: which ones a task has, and each one prepared so that it can be measured again with other
//! weights of the posts.

use shared::config::Task;

use super::decisions::Decisions;
use super::f1::{self, Counts};
use super::ranking::Rankings;
use super::{Predictions, accuracy};
use crate::report::Values;

const ACCURACY: &str = "accuracy";
const TOP_FIVE: &str = "accuracy_top5";
const F1_MACRO: &str = "f1_macro";
const F1_MICRO: &str = "f1_micro";
const F1_WEIGHTED: &str = "f1_weighted";
const F1_SAMPLES: &str = "f1_samples";
const AUROC: &str = "auroc";
const PRECISION: &str = "mean_average_precision";

/// The figures of a task, by name.
///
/// Multi-class: `accuracy`, `accuracy_top5` (from six classes on), `f1_macro`, `f1_weighted`; micro and by-post F1
/// would be the accuracy again. Multi-label: `f1_macro`, `f1_micro`, `f1_weighted`, `f1_samples` at probability 0.5.
/// Both: `auroc` and `mean_average_precision`, which depend on no threshold, as means over the classes that have posts
/// of both kinds.
pub fn names(task: Task, classes: usize) -> Vec<&'static str> {
    let own: &[&str] = match task {
        Task::MultiClass if classes > 5 => &[ACCURACY, TOP_FIVE, F1_MACRO, F1_WEIGHTED],
        Task::MultiClass => &[ACCURACY, F1_MACRO, F1_WEIGHTED],
        Task::MultiLabel => &[F1_MACRO, F1_MICRO, F1_WEIGHTED, F1_SAMPLES],
    };
    [own, &[AUROC, PRECISION]].concat()
}

/// A figure without the logits: what it needs of each post.
#[derive(Clone, Debug)]
pub enum Figure {
    /// The mean of a value by post; posts without one do not count.
    Mean(Vec<Option<f64>>),
    /// A function of the counts by class.
    Counted(Decisions, fn(&[Counts]) -> f64),
    /// Mean area under the ROC curve.
    Auroc(Rankings),
    /// Mean average precision.
    Precision(Rankings),
}

impl Figure {
    /// Prepares a figure; `None` if the task has none of that name.
    pub fn of(predictions: &Predictions, name: &str, task: Task, classes: usize) -> Option<Self> {
        let name = names(task, classes).into_iter().find(|own| *own == name)?;
        let decisions = || Decisions::of(predictions, task, classes);
        let rankings = || Rankings::of(predictions, task, classes);
        Some(match name {
            ACCURACY => Self::Mean(hits(predictions, 1)),
            TOP_FIVE => Self::Mean(hits(predictions, 5)),
            F1_MACRO => Self::Counted(decisions(), f1::macro_f1),
            F1_MICRO => Self::Counted(decisions(), f1::micro_f1),
            F1_WEIGHTED => Self::Counted(decisions(), f1::weighted_f1),
            F1_SAMPLES => Self::Mean(decisions().f1_by_post()),
            AUROC => Self::Auroc(rankings()),
            _ => Self::Precision(rankings()),
        })
    }

    /// The figure with post `i` taken `weights[i]` times; `None` if that leaves nothing to measure.
    pub fn value(&self, weights: &[u32]) -> Option<f64> {
        match self {
            Self::Mean(values) => {
                let mut sum = (0.0, 0.0);
                for (value, &weight) in values.iter().zip(weights) {
                    if let Some(value) = value {
                        sum = (sum.0 + f64::from(weight) * value, sum.1 + f64::from(weight));
                    }
                }
                (sum.1 > 0.0).then(|| sum.0 / sum.1)
            }
            Self::Counted(decisions, figure) => Some(figure(&decisions.counts(weights)?)),
            Self::Auroc(rankings) => rankings.areas(weights).auroc,
            Self::Precision(rankings) => rankings.areas(weights).average_precision,
        }
    }
}

/// All figures of a task that these posts define.
pub fn all(predictions: &Predictions, task: Task, classes: usize) -> Values {
    let once = vec![1; predictions.len()];
    let decisions = Decisions::of(predictions, task, classes);
    let counts = decisions.counts(&once);
    let areas = Rankings::of(predictions, task, classes).areas(&once);
    let value = |name: &str| match name {
        F1_MACRO => counts.as_deref().map(f1::macro_f1),
        F1_MICRO => counts.as_deref().map(f1::micro_f1),
        F1_WEIGHTED => counts.as_deref().map(f1::weighted_f1),
        F1_SAMPLES => Figure::Mean(decisions.f1_by_post()).value(&once),
        AUROC => areas.auroc,
        PRECISION => areas.average_precision,
        other => Figure::of(predictions, other, task, classes)?.value(&once),
    };
    let found = names(task, classes).into_iter();
    found
        .filter_map(|name| Some((name.to_owned(), value(name)?)))
        .collect()
}

/// By post: 1 if the target is among the `k` highest scores, else 0; nothing for posts without a target.
fn hits(predictions: &Predictions, k: usize) -> Vec<Option<f64>> {
    let posts = predictions.logits.iter().zip(&predictions.targets);
    let hit = |(row, targets): (&Vec<f32>, &Vec<usize>)| {
        let place = accuracy::place(row, *targets.first()?);
        Some(f64::from(u8::from(place.is_some_and(|place| place < k))))
    };
    posts.map(hit).collect()
}

#[cfg(test)]
mod tests {
    use shared::Case;

    use super::*;

    fn posts() -> Predictions {
        let mut posts = Predictions::default();
        for i in 0..40usize {
            let row = (0..7)
                .map(|k| ((i * 13 + k * 29) % 17) as f32 - 8.0)
                .collect();
            posts.push(Case::Complete, row, vec![i * 5 % 7]);
        }
        posts
    }

    #[test]
    fn every_name_has_a_value_and_the_two_ways_agree() {
        for task in [Task::MultiClass, Task::MultiLabel] {
            let (posts, figures) = (posts(), posts().figures(task, 7));
            assert_eq!(figures.len(), names(task, 7).len());
            for (name, value) in figures {
                assert_eq!(posts.figure(&name, task, 7), Some(value), "{name}");
            }
            assert_eq!(posts.figure("f1", task, 7), None);
        }
    }

    #[test]
    fn weights_are_repetitions() {
        let weights: Vec<u32> = (0..40).map(|i| i * 7 % 4).collect();
        let (once, mut repeated) = (posts(), Predictions::default());
        for (i, &weight) in weights.iter().enumerate() {
            for _ in 0..weight {
                repeated.push(
                    Case::Complete,
                    once.logits[i].clone(),
                    once.targets[i].clone(),
                );
            }
        }
        for task in [Task::MultiClass, Task::MultiLabel] {
            for name in names(task, 7) {
                let weighted = Figure::of(&once, name, task, 7).unwrap().value(&weights);
                let direct = repeated.figure(name, task, 7);
                let difference = weighted.unwrap() - direct.unwrap();
                assert!(difference.abs() < 1e-12, "{name}: {weighted:?} {direct:?}");
            }
        }
    }

    #[test]
    fn nothing_to_measure_and_nothing_measurable() {
        let (none, mut bad) = (Predictions::default(), Predictions::default());
        bad.push(Case::Complete, vec![f32::NAN; 7], vec![0]);
        bad.push(Case::Complete, vec![f32::NAN; 7], vec![3]);
        for task in [Task::MultiClass, Task::MultiLabel] {
            assert!(none.figures(task, 7).is_empty());
            for (name, value) in bad.figures(task, 7) {
                let best = if name == PRECISION { 0.5 } else { 0.0 };
                assert!(value <= best, "{name} {value}");
            }
        }
    }
}
