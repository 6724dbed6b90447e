//! Owns F1: of a class, and over classes macro, micro and weighted, from counts over a whole split.

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
    /// Whether the class occurs neither in predictions nor in targets.
    pub fn absent(&self) -> bool {
        self.true_positive + self.false_positive + self.false_negative == 0
    }

    /// How often the class is true.
    pub fn support(&self) -> usize {
        self.true_positive + self.false_negative
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

/// Mean of the classes' F1. Classes absent in both predictions and targets are dropped from the mean, as in
/// torchmetrics 0.9.3 (scikit-learn counts them 0); 0 if all are absent.
pub fn macro_f1(counts: &[Counts]) -> f64 {
    let present = counts.iter().filter(|class| !class.absent());
    let (sum, classes) = present.fold((0.0, 0), |(sum, classes), class| {
        (sum + class.f1(), classes + 1)
    });
    if classes == 0 {
        0.0
    } else {
        sum / f64::from(classes)
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

/// Mean of the classes' F1, each weighted by how often it is true; 0 if none ever is.
pub fn weighted_f1(counts: &[Counts]) -> f64 {
    let support: usize = counts.iter().map(Counts::support).sum();
    if support == 0 {
        return 0.0;
    }
    let weighted = |class: &Counts| class.f1() * class.support() as f64;
    counts.iter().map(weighted).sum::<f64>() / support as f64
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
    fn frequent_classes_weigh_more() {
        let classes = [counts(3, 0, 0), counts(0, 1, 1)];
        assert!((weighted_f1(&classes) - 0.75).abs() < 1e-12);
        assert_eq!(weighted_f1(&[counts(0, 5, 0)]), 0.0);
    }
}
