//! Owns F1: per class, macro and micro, counted over a whole split.

/// True positives, false positives and false negatives of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Predicted and true.
    pub true_positive: usize,
    /// Predicted, not true.
    pub false_positive: usize,
    /// True, not predicted.
    pub false_negative: usize,
}

impl Counts {
    /// Takes one post into account.
    pub fn add(&mut self, predicted: bool, actual: bool) {
        self.true_positive += usize::from(predicted && actual);
        self.false_positive += usize::from(predicted && !actual);
        self.false_negative += usize::from(!predicted && actual);
    }

    /// Whether the class occurs neither in predictions nor in targets.
    pub fn absent(&self) -> bool {
        self.true_positive + self.false_positive + self.false_negative == 0
    }

    /// `2 TP / (2 TP + FP + FN)`, 0 if there is nothing.
    pub fn f1(&self) -> f64 {
        let double = 2 * self.true_positive;
        let all = double + self.false_positive + self.false_negative;
        if all == 0 {
            0.0
        } else {
            double as f64 / all as f64
        }
    }
}

/// Counts per class: predictions and targets are the posts' sets of classes as 0/1 rows.
pub fn count(predicted: &[Vec<bool>], actual: &[Vec<bool>], classes: usize) -> Vec<Counts> {
    let mut counts = vec![Counts::default(); classes];
    for (predicted, actual) in predicted.iter().zip(actual) {
        for (counts, (&predicted, &actual)) in counts.iter_mut().zip(predicted.iter().zip(actual)) {
            counts.add(predicted, actual);
        }
    }
    counts
}

/// Mean of the classes' F1. Classes absent in both predictions and targets are dropped from the mean, as in
/// torchmetrics 0.9.3 (scikit-learn counts them 0); 0 if all are absent.
pub fn macro_f1(counts: &[Counts]) -> f64 {
    let present: Vec<f64> = counts
        .iter()
        .filter(|class| !class.absent())
        .map(Counts::f1)
        .collect();
    if present.is_empty() {
        0.0
    } else {
        present.iter().sum::<f64>() / present.len() as f64
    }
}

/// F1 of the counts of all classes together.
pub fn micro_f1(counts: &[Counts]) -> f64 {
    let all = counts.iter().fold(Counts::default(), |sum, class| Counts {
        true_positive: sum.true_positive + class.true_positive,
        false_positive: sum.false_positive + class.false_positive,
        false_negative: sum.false_negative + class.false_negative,
    });
    all.f1()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(true_positive: usize, false_positive: usize, false_negative: usize) -> Counts {
        Counts {
            true_positive,
            false_positive,
            false_negative,
        }
    }

    #[test]
    fn golden_numbers_of_absent_classes() {
        let two_thirds = counts(1, 1, 0);
        let mut classes = vec![two_thirds, two_thirds, two_thirds, counts(0, 0, 0)];
        assert!((macro_f1(&classes) - 2.0 / 3.0).abs() < 1e-12);
        classes[3] = counts(0, 0, 2);
        assert!((macro_f1(&classes) - 0.5).abs() < 1e-12);
        assert_eq!(macro_f1(&[counts(0, 0, 0); 4]), 0.0);
        assert!((micro_f1(&classes) - 6.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn counting() {
        let counted = count(
            &[vec![true, false], vec![true, true]],
            &[vec![true, true], vec![false, true]],
            2,
        );
        assert_eq!(counted, [counts(1, 1, 0), counts(1, 0, 1)]);
    }
}
