//! Owns the threshold of multi-label decisions: one logit for all classes, chosen on validation posts.
//!
//! The paper decides at probability 0.5. A margin on the positives alone moves all logits, and with them what that
//! threshold means; with a threshold chosen on validation posts, heads are compared by what they know.

use super::Predictions;
use super::decisions::Decisions;
use super::f1::{self, Counts};

/// The logit threshold with the highest macro F1 on these posts. Between two logits it lies in the middle; of equally
/// good ones it is the nearest to 0, which is probability 0.5. 0 if no threshold gives anything.
pub fn tuned(val: &Predictions, classes: usize) -> f32 {
    let mut counts = vec![Counts::default(); classes];
    let mut logits: Vec<(f32, usize, bool)> = Vec::new();
    for (row, targets) in val.logits.iter().zip(&val.targets) {
        for (class, counts) in counts.iter_mut().enumerate() {
            let actual = targets.contains(&class);
            counts.false_negative += usize::from(actual);
            let logit = row.get(class).filter(|logit| !logit.is_nan());
            logits.extend(logit.map(|&logit| (logit, class, actual)));
        }
    }
    logits.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (mut best, mut threshold) = (0.0, 0.0f32);
    for (i, &(logit, class, actual)) in logits.iter().enumerate() {
        // The threshold falls to this logit: one more pair of post and class is predicted.
        if actual {
            counts[class].true_positive += 1;
            counts[class].false_negative -= 1;
        } else {
            counts[class].false_positive += 1;
        }
        let next = logits.get(i + 1).map(|next| next.0);
        if next == Some(logit) {
            continue;
        }
        let (value, candidate) = (f1::macro_f1(&counts), between(next, logit));
        if value > best || (value == best && best > 0.0 && candidate.abs() < threshold.abs()) {
            (best, threshold) = (value, candidate);
        }
    }
    threshold
}

/// The middle of two logits: a threshold that `high` reaches and `low` does not.
fn between(low: Option<f32>, high: f32) -> f32 {
    let Some(low) = low else {
        return high;
    };
    let middle = ((f64::from(low) + f64::from(high)) / 2.0) as f32;
    // Neighbours have nothing in between, and infinities no middle.
    if middle > low && middle <= high {
        middle
    } else {
        high
    }
}

impl Predictions {
    /// Macro F1 of a multi-label task if all classes with a logit of at least `threshold` are predicted; 0 for no
    /// posts.
    pub fn f1_macro_at(&self, threshold: f32, classes: usize) -> f64 {
        let counts = Decisions::at(self, threshold, classes).counts(&vec![1; self.len()]);
        counts.map_or(0.0, |counts| f1::macro_f1(&counts))
    }
}

#[cfg(test)]
mod tests {
    use shared::Case;

    use super::*;

    fn posts(rows: &[(&[f32], &[usize])]) -> Predictions {
        let mut posts = Predictions::default();
        for (logits, targets) in rows {
            posts.push(Case::Complete, logits.to_vec(), targets.to_vec());
        }
        posts
    }

    #[test]
    fn shifted_logits_are_put_right() {
        let posts = posts(&[
            (&[-1.0, -3.0], &[0]),
            (&[-4.0, -1.5], &[1]),
            (&[-3.5, -5.0], &[]),
        ]);
        assert_eq!(posts.f1_macro_at(0.0, 2), 0.0);
        assert_eq!(tuned(&posts, 2), -2.25);
        assert_eq!(posts.f1_macro_at(-2.25, 2), 1.0);
    }

    #[test]
    fn never_worse_than_any_other_threshold() {
        let mut rng = shared::rng::stream(0, "threshold test");
        let mut draw = |n| shared::rng::below(&mut rng, n);
        for _ in 0..50 {
            let mut posts = Predictions::default();
            for _ in 0..12 {
                let row = (0..4).map(|_| draw(9) as f32 / 2.0 - 2.0).collect();
                let targets = (0..4).filter(|_| draw(3) == 0).collect();
                posts.push(Case::Complete, row, targets);
            }
            let best = posts.f1_macro_at(tuned(&posts, 4), 4);
            let grid = (-10..=10).map(|i| posts.f1_macro_at(i as f32 / 4.0, 4));
            assert_eq!(grid.fold(0.0, f64::max), best);
        }
    }

    #[test]
    fn nothing_to_tune_on() {
        assert_eq!(tuned(&Predictions::default(), 3), 0.0);
        assert_eq!(tuned(&posts(&[(&[1.0, -2.0], &[])]), 2), 0.0);
        assert_eq!(tuned(&posts(&[(&[f32::NAN, f32::NAN], &[1])]), 2), 0.0);
        let infinite = posts(&[(&[f32::INFINITY], &[0]), (&[f32::NEG_INFINITY], &[])]);
        assert_eq!(infinite.f1_macro_at(tuned(&infinite, 1), 1), 1.0);
    }
}
