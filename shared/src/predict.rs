//! Owns predictions: classes with their probabilities and each modality's part in them.

mod classifier;
mod explain;
mod lessons;
mod network;

use serde::{Deserialize, Serialize};

use crate::bundle::CaseCalibration;
use crate::case::Case;
use crate::config::Task;
use crate::head::{Answer, Evidence};

pub use classifier::{Classifier, RawPost};
pub use explain::{Explainer, Explanation, ImageMap, Removal, TextMap};
pub use lessons::{Lessons, TaughtClass};
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
    /// Whether answers this probable were right as often as was asked for when the classifier was exported (0.8 of them,
    /// unless it was asked for another share); absent where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sure: Option<bool>,
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
    /// As the model gives it. Softmax or sigmoid act on it, divided by the case's temperature where that was measured.
    pub logit: f32,
    /// What the image says for the class; absent if the post has none.
    pub image: Option<f32>,
    /// What the text says for the class; absent if the post has none.
    pub text: Option<f32>,
}

/// How answers are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling<'a> {
    /// What kind of task it is.
    pub(crate) task: Task,
    /// The names in the order of the logits.
    pub(crate) classes: &'a [String],
    /// What the parts of an answer are measured in.
    pub(crate) evidence: Evidence,
    /// How far the probabilities of the post's case can be trusted, if that is known.
    pub(crate) calibration: Option<&'a CaseCalibration>,
}

impl Prediction {
    /// The prediction of an answer for a post of this case.
    pub(crate) fn new(case: Case, answer: &Answer, telling: Telling<'_>) -> Self {
        let Telling {
            task,
            classes,
            evidence,
            calibration,
        } = telling;
        let temperature = calibration.map_or(1.0, |of| of.temperature);
        let probabilities = probabilities(task, &answer.logits, temperature as f32);
        let [image, text] = answer.parts.each_ref().map(Option::as_deref);
        let at =
            |part: Option<&[f32]>, index: usize| part.and_then(|part| part.get(index).copied());
        let mut classes: Vec<ClassScore> = classes
            .iter()
            .zip(answer.logits.iter().zip(&probabilities))
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
        let chosen = match task {
            Task::MultiClass => classes.len().min(1),
            Task::MultiLabel => classes
                .iter()
                .filter(|class| class.probability >= 0.5)
                .count(),
        };
        let top = classes.first();
        let probability = top.map_or(0.0, |class| class.probability);
        Self {
            case,
            label: top.map(|class| class.label.clone()).unwrap_or_default(),
            index: top.map_or(0, |class| class.index),
            probability,
            sure: calibration.and_then(|of| of.is_sure(probability)),
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

/// Softmax of the logits over a temperature, or their sigmoids in multi-label tasks.
pub fn probabilities(task: Task, logits: &[f32], temperature: f32) -> Vec<f32> {
    match task {
        Task::MultiClass => {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let power = |logit: &f32| ((logit - most) / temperature).exp();
            let powers: Vec<f32> = logits.iter().map(power).collect();
            let sum: f32 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        }
        Task::MultiLabel => logits
            .iter()
            .map(|logit| 1.0 / (1.0 + (-logit / temperature).exp()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_by_task() {
        let p = probabilities(Task::MultiClass, &[1000.0, 1000.0, -1000.0], 1.0);
        assert_eq!(p, [0.5, 0.5, 0.0]);
        let p = probabilities(Task::MultiLabel, &[0.0, 100.0, -100.0], 1.0);
        assert_eq!(p[..2], [0.5, 1.0]);
        assert!(p[2] < 1e-30);
    }

    /// The temperature changes probabilities and what is sure; never logits, their order or what is assigned.
    #[test]
    fn a_temperature_changes_how_sure_it_is_and_no_answer() {
        let classes = ["a", "b"].map(String::from);
        let answer = Answer {
            logits: vec![1.0, -3.0],
            parts: [Some(vec![0.1, 0.2]), None],
        };
        let tell = |task, calibration: Option<&CaseCalibration>| {
            let telling = Telling {
                task,
                classes: &classes,
                evidence: Evidence::Cosine,
                calibration,
            };
            Prediction::new(Case::TextMissing, &answer, telling)
        };
        let calibration = CaseCalibration {
            temperature: 2.0,
            threshold: 0.85,
            posts: 100,
            ..CaseCalibration::unknown(Case::TextMissing)
        };
        for (task, before, after) in [
            (
                Task::MultiClass,
                1.0 / (1.0 + (-4f32).exp()),
                1.0 / (1.0 + (-2f32).exp()),
            ),
            (
                Task::MultiLabel,
                1.0 / (1.0 + (-1f32).exp()),
                1.0 / (1.0 + (-0.5f32).exp()),
            ),
        ] {
            let (plain, calibrated) = (tell(task, None), tell(task, Some(&calibration)));
            assert!((plain.probability - before).abs() < 1e-6);
            assert!((calibrated.probability - after).abs() < 1e-6);
            assert_eq!((plain.sure, calibrated.sure), (None, Some(after >= 0.85)));
            assert_eq!(
                (plain.labels, plain.label),
                (calibrated.labels, calibrated.label)
            );
            let same = plain.classes.iter().zip(&calibrated.classes);
            assert!(
                same.into_iter()
                    .all(|(a, b)| a.logit == b.logit && a.image == b.image)
            );
        }
        let json = serde_json::to_string(&tell(Task::MultiClass, None)).unwrap();
        assert!(!json.contains("sure"), "{json}");
    }
}
