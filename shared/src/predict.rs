//! Owns predictions: classes with their probabilities and each modality's part in them.

mod classifier;
mod explain;
mod network;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::config::{ModelConfig, Task};
use crate::head::Evidence;

pub use classifier::{Classifier, RawPost};
pub use explain::{Explainer, Explanation, ImageMap, Removal, TextMap};
pub use network::{Network, OnDevice, PostFeatures, PreparedPost};

/// What is predicted for one post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Which modalities the post had.
    pub case: Case,
    /// The likeliest class.
    pub label: String,
    /// Its place in the order of the classes.
    pub index: usize,
    /// Its probability.
    pub probability: f32,
    /// The classes assigned: the likeliest alone, or in multi-label tasks every class of probability 0.5 or more.
    pub labels: Vec<String>,
    /// What `image` and `text` of the classes are measured in.
    pub evidence: Evidence,
    /// All classes, likeliest first; equal ones in the order of the classes.
    pub classes: Vec<ClassScore>,
}

/// What is predicted for one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// The class.
    pub label: String,
    /// Its place in the order of the classes.
    pub index: usize,
    /// Softmax over the classes, or in multi-label tasks the sigmoid.
    pub probability: f32,
    /// What the softmax or sigmoid acts on.
    pub logit: f32,
    /// What the image says for the class; absent if the post has none.
    pub image: Option<f32>,
    /// What the text says for the class; absent if the post has none.
    pub text: Option<f32>,
}

impl Prediction {
    /// The prediction of logits `[K]`, with what the image and the text say for each class.
    pub fn new(
        config: &ModelConfig,
        case: Case,
        evidence: Evidence,
        logits: &[f32],
        [image, text]: [Option<&[f32]>; 2],
    ) -> Self {
        let probabilities = probabilities(config.task, logits);
        let at =
            |part: Option<&[f32]>, index: usize| part.and_then(|part| part.get(index).copied());
        let mut classes: Vec<ClassScore> = config
            .classes
            .iter()
            .zip(logits.iter().zip(&probabilities))
            .enumerate()
            .map(|(index, (label, (&logit, &probability)))| ClassScore {
                label: label.clone(),
                index,
                probability,
                logit,
                image: at(image, index),
                text: at(text, index),
            })
            .collect();
        classes.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.index.cmp(&b.index)));
        let chosen = match config.task {
            Task::MultiClass => classes.len().min(1),
            Task::MultiLabel => classes
                .iter()
                .filter(|class| class.probability >= 0.5)
                .count(),
        };
        let top = classes.first();
        Self {
            case,
            label: top.map(|class| class.label.clone()).unwrap_or_default(),
            index: top.map_or(0, |class| class.index),
            probability: top.map_or(0.0, |class| class.probability),
            labels: classes
                .iter()
                .take(chosen)
                .map(|class| class.label.clone())
                .collect(),
            evidence,
            classes,
        }
    }
}

/// Softmax of the logits, or their sigmoids in multi-label tasks.
pub fn probabilities(task: Task, logits: &[f32]) -> Vec<f32> {
    match task {
        Task::MultiClass => {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
            let sum: f32 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        }
        Task::MultiLabel => logits
            .iter()
            .map(|logit| 1.0 / (1.0 + (-logit).exp()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_by_task() {
        let p = probabilities(Task::MultiClass, &[1000.0, 1000.0, -1000.0]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
        let p = probabilities(Task::MultiLabel, &[0.0, 100.0, -100.0]);
        assert_eq!(p[..2], [0.5, 1.0]);
        assert!(p[2] < 1e-30);
    }
}
