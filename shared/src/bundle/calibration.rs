//! Owns what is known of how far a classifier's probabilities can be trusted, case by case: measured when it is exported,
//! applied to every prediction.

use serde::{Deserialize, Serialize};

use super::{MANIFEST, error};
use crate::case::Case;
use crate::error::Result;

/// The threshold of a case in which no answer is sure: no probability is above 1.
pub const NEVER: f64 = 2.0;

/// What makes a classifier's probabilities mean what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The share of sure answers that are to be right, between 0 and 1.
    pub sure: f64,
    /// In the order of the cases' codes.
    pub cases: [CaseCalibration; 3],
}

/// What was measured in one case, on validation posts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseCalibration {
    /// The case.
    pub case: Case,
    /// What logits are divided by before they become probabilities.
    pub temperature: f64,
    /// From this probability of the likeliest class on an answer is sure; above 1 none ever is.
    pub threshold: f64,
    /// Over how many posts; without any, nothing is known of the case, and its answers are neither sure nor unsure.
    pub posts: usize,
    /// The share of the posts whose answers are sure.
    pub share_sure: f64,
    /// The share of the sure answers that are right: whose likeliest class is one of the post's. Absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_when_sure: Option<f64>,
    /// Expected calibration error of the likeliest class's probability at temperature 1, 0 to 1.
    pub error_before: f64,
    /// The same at the temperature above.
    pub error_after: f64,
}

impl Calibration {
    /// What holds in a case.
    pub fn of(&self, case: Case) -> &CaseCalibration {
        &self.cases[case.index()]
    }

    /// Refuses what cannot have been measured.
    ///
    /// # Errors
    /// If a number is not finite or out of its range, or the cases are not in the order of their codes.
    pub(super) fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let possible = |(place, of): (usize, &CaseCalibration)| {
            of.case.index() == place
                && (1e-3..=1e3).contains(&of.temperature)
                && (0.0..=NEVER).contains(&of.threshold)
                && share(of.share_sure)
                && of.right_when_sure.is_none_or(share)
                && share(of.error_before)
                && share(of.error_after)
        };
        if share(self.sure) && self.cases.iter().enumerate().all(possible) {
            return Ok(());
        }
        Err(error(
            MANIFEST,
            "the calibration has a number that cannot be, or its cases are out of order; export the model again",
        ))
    }
}

impl CaseCalibration {
    /// A case of which nothing is known.
    pub fn unknown(case: Case) -> Self {
        Self {
            case,
            temperature: 1.0,
            threshold: NEVER,
            posts: 0,
            share_sure: 0.0,
            right_when_sure: None,
            error_before: 0.0,
            error_after: 0.0,
        }
    }

    /// Whether an answer with this probability of its likeliest class is sure; nothing where nothing is known.
    pub fn is_sure(&self, probability: f32) -> Option<bool> {
        (self.posts > 0).then_some(f64::from(probability) >= self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_measured_is_read() {
        let good = Calibration {
            sure: 0.8,
            cases: Case::ALL.map(CaseCalibration::unknown),
        };
        assert!(good.check().is_ok());
        let with = |change: fn(&mut Calibration)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check()
        };
        for bad in [
            with(|c| c.sure = f64::NAN),
            with(|c| c.cases[1].temperature = 0.0),
            with(|c| c.cases[1].temperature = f64::INFINITY),
            with(|c| c.cases[2].threshold = -0.1),
            with(|c| c.cases[0].right_when_sure = Some(1.5)),
            with(|c| c.cases.swap(0, 1)),
        ] {
            let message = bad.unwrap_err().to_string();
            assert!(message.contains("calibration"), "{message}");
        }
    }

    #[test]
    fn an_unknown_case_is_neither_sure_nor_unsure() {
        let mut case = CaseCalibration::unknown(Case::Complete);
        assert_eq!(case.is_sure(1.0), None);
        case.posts = 10;
        assert_eq!(case.is_sure(1.0), Some(false));
        case.threshold = 0.5;
        assert_eq!(
            (case.is_sure(0.5), case.is_sure(0.4)),
            (Some(true), Some(false))
        );
    }
}
