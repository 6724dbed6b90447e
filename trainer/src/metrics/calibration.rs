//! Owns how far probabilities can be trusted: the temperature that makes them honest, from which one on an answer is
//! sure, and the expected calibration error.

use shared::Case;
use shared::bundle::CaseCalibration;
use shared::bundle::calibration::NEVER;
use shared::config::Task;
use shared::predict::probabilities;

use super::Predictions;
use super::accuracy::best;

/// Below so many posts nothing is fitted.
const LEAST: usize = 20;
/// Bounds of the temperature.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Halvings, nearly, of what is left of them: to six digits.
const STEPS: usize = 40;
/// Bins of equal width of the expected calibration error.
const BINS: usize = 15;
/// Of a normal distribution nine tenths lie below so many standard deviations above the mean.
const NINE_TENTHS: f64 = 1.281_551_565_545;

/// The likeliest class of one post.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Its probability.
    pub probability: f64,
    /// Whether it is one of the post's classes.
    pub right: bool,
}

/// The likeliest classes at a temperature; posts without a class or with a logit that is not a number are left out.
pub fn judged(predictions: &Predictions, task: Task, temperature: f64) -> Vec<Judged> {
    let posts = predictions.logits.iter().zip(&predictions.targets);
    let judge = |(logits, targets): (&Vec<f32>, &Vec<usize>)| {
        let best = best(logits).filter(|_| !targets.is_empty())?;
        let probabilities = probabilities(task, logits, temperature as f32);
        Some(Judged {
            probability: f64::from(probabilities[best]),
            right: targets.contains(&best),
        })
    };
    posts.filter_map(judge).collect()
}

/// Mean distance between how probable answers are and how often they are right, over bins of equal width, each weighted
/// by its answers; 0 for none.
pub fn expected_error(answers: &[Judged]) -> f64 {
    let mut bins = [0.0; BINS];
    for answer in answers {
        let bin = (answer.probability * BINS as f64) as usize;
        bins[bin.min(BINS - 1)] += answer.probability - f64::from(u8::from(answer.right));
    }
    bins.iter().map(|sum| sum.abs()).sum::<f64>() / answers.len().max(1) as f64
}

/// Of the answers that are at least so probable, the share among all and the share that is right, if there are any.
pub fn sure(answers: &[Judged], threshold: f64) -> (f64, Option<f64>) {
    let above = answers
        .iter()
        .filter(|answer| answer.probability >= threshold);
    let right = above.clone().filter(|answer| answer.right).count();
    let count = above.count();
    let share = count as f64 / answers.len().max(1) as f64;
    (share, (count > 0).then(|| right as f64 / count as f64))
}

/// Fits the predictions for posts of one case, so that answers which are called sure are right in a share `aimed` of
/// cases.
pub fn fit(predictions: &Predictions, case: Case, task: Task, aimed: f64) -> CaseCalibration {
    let before = judged(predictions, task, 1.0);
    let mut fitted = CaseCalibration {
        posts: before.len(),
        ..CaseCalibration::unknown(case)
    };
    if before.len() >= LEAST {
        fitted.temperature = round(temperature(predictions, task));
    }
    let after = judged(predictions, task, fitted.temperature);
    if after.len() >= LEAST {
        fitted.threshold = threshold(&after, aimed);
    }
    let (share, right) = sure(&after, fitted.threshold);
    fitted.share_sure = round(share);
    fitted.right_when_sure = right.map(round);
    fitted.error_before = round(expected_error(&before));
    fitted.error_after = round(expected_error(&after));
    fitted
}

/// More digits would be those of this machine's rounding.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The temperature with the least mean cross-entropy of the posts' classes. The squared logarithm of the temperature
/// counts as the loss of one more post, so that few posts do not say much.
fn temperature(predictions: &Predictions, task: Task) -> f64 {
    let loss = |log: f64| loss(predictions, task, log.exp()) + log * log;
    // Golden section: the loss has one valley, for it is convex in one over the temperature.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    let inside = |low: f64, high: f64| [high - golden * (high - low), low + golden * (high - low)];
    let [mut left, mut right] = inside(low, high);
    let [mut at_left, mut at_right] = [loss(left), loss(right)];
    for _ in 0..STEPS {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = inside(low, high)[0];
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = inside(low, high)[1];
            at_right = loss(right);
        }
    }
    f64::midpoint(low, high).exp()
}

/// Cross-entropy of the posts' classes, summed over posts; in multi-label tasks the mean over classes of the binary one.
fn loss(predictions: &Predictions, task: Task, temperature: f64) -> f64 {
    let of_post = |(logits, targets): (&Vec<f32>, &Vec<usize>)| {
        if best(logits).is_none() || targets.is_empty() {
            return 0.0;
        }
        let scaled: Vec<f64> = logits.iter().map(|&x| f64::from(x) / temperature).collect();
        match task {
            Task::MultiClass => {
                let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scaled.iter().map(|x| (x - most).exp()).sum();
                most + sum.ln() - scaled.get(targets[0]).copied().unwrap_or(most)
            }
            Task::MultiLabel => {
                let binary = |(class, &x): (usize, &f64)| {
                    let signed = if targets.contains(&class) { -x } else { x };
                    signed.max(0.0) + (-signed.abs()).exp().ln_1p()
                };
                scaled.iter().enumerate().map(binary).sum::<f64>() / scaled.len() as f64
            }
        }
    };
    let posts = predictions.logits.iter().zip(&predictions.targets);
    posts.map(of_post).sum()
}

/// The least probability from which on so many answers are right that nine times out of ten at least a share `aimed` of
/// all such answers is: Wilson's lower bound. Of few answers all must be right, of very few even that does not suffice.
fn threshold(answers: &[Judged], aimed: f64) -> f64 {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let (mut right, mut found) = (0, NEVER);
    for (place, answer) in sorted.iter().enumerate() {
        right += usize::from(answer.right);
        let next = sorted.get(place + 1).map(|next| next.probability);
        if next != Some(answer.probability) && lower_bound(right, place + 1) >= aimed {
            // Down, so that this answer is above it.
            found = (answer.probability * 1e6).floor() / 1e6;
        }
    }
    found
}

/// The lower end of Wilson's interval of a share of which `right` of `count` were seen; it is below nine times out of ten.
fn lower_bound(right: usize, count: usize) -> f64 {
    let (n, z) = (count as f64, NINE_TENTHS);
    let share = right as f64 / n;
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (share + z * z / (2.0 * n) - spread) / (1.0 + z * z / n)
}

#[cfg(test)]
mod tests {
    use shared::rng;

    use super::*;

    /// Posts of three classes whose labels are drawn with the probabilities that the logits say at `temperature`.
    fn drawn(count: usize, temperature: f32) -> Predictions {
        let mut random = rng::stream(3, "calibration");
        let mut posts = Predictions::default();
        for _ in 0..count {
            let logits: Vec<f32> = (0..3)
                .map(|_| 8.0 * rng::unit(&mut random) as f32)
                .collect();
            let p = probabilities(Task::MultiClass, &logits, temperature);
            let at = rng::unit(&mut random) as f32;
            let target = usize::from(at > p[0]) + usize::from(at > p[0] + p[1]);
            posts.push(Case::Complete, logits, vec![target]);
        }
        posts
    }

    #[test]
    fn the_temperature_of_drawn_labels_is_found() {
        let posts = drawn(4000, 2.5);
        let fitted = fit(&posts, Case::Complete, Task::MultiClass, 0.8);
        assert!((fitted.temperature - 2.5).abs() < 0.15, "{fitted:?}");
        assert!(
            fitted.error_after < 0.03 && fitted.error_before > 0.1,
            "{fitted:?}"
        );
        assert!(fitted.right_when_sure >= Some(0.8), "{fitted:?}");
        // No stricter than the bound of some hundreds of answers has to be.
        assert!(fitted.right_when_sure < Some(0.86), "{fitted:?}");
        // No temperature nearby is better.
        let at = |t: f64| loss(&posts, Task::MultiClass, t) + t.ln() * t.ln();
        let t = fitted.temperature;
        assert!(at(t) < at(1.01 * t) && at(t) < at(t / 1.01));
    }

    #[test]
    fn few_posts_say_little_and_wrong_ones_are_never_sure() {
        let fitted = fit(&drawn(19, 1.0), Case::Complete, Task::MultiClass, 0.8);
        assert_eq!(
            (fitted.temperature, fitted.threshold, fitted.posts),
            (1.0, NEVER, 19)
        );
        let mut wrong = drawn(300, 1.0);
        wrong.targets.iter_mut().for_each(|targets| targets[0] = 3);
        wrong.logits.iter_mut().for_each(|logits| logits.push(-1.0));
        let fitted = fit(&wrong, Case::Complete, Task::MultiClass, 0.8);
        assert_eq!((fitted.threshold, fitted.right_when_sure), (NEVER, None));
        // Right answers alone do not make the temperature fall to its bound.
        let mut right = Predictions::default();
        (0..30).for_each(|_| right.push(Case::Complete, vec![2.0, 0.0], vec![0]));
        let fitted = fit(&right, Case::Complete, Task::MultiClass, 0.8);
        assert!(fitted.temperature > 0.2, "{fitted:?}");
        assert_eq!(fitted.share_sure, 1.0);
    }

    #[test]
    fn bounds_and_errors_by_hand() {
        // 100 of 100: 1 / (1 + z² / n).
        assert!((lower_bound(100, 100) - 1.0 / (1.0 + 0.016_424)).abs() < 1e-5);
        assert!(lower_bound(6, 6) < 0.8 && lower_bound(7, 7) > 0.8);
        let answers = [(0.9, true), (0.9, false), (0.3, false), (1.0, true)];
        let answers = answers.map(|(probability, right)| Judged { probability, right });
        // Bins of 0.9 (one of two right), of 0.3, and of 1.
        let expected = (0.8 + 0.3 + 0.0) / 4.0;
        assert!((expected_error(&answers) - expected).abs() < 1e-12);
        assert_eq!(sure(&answers, 0.9), (0.75, Some(2.0 / 3.0)));
        assert_eq!(sure(&answers, NEVER), (0.0, None));
    }

    /// With many labels the likeliest counts, and the labels' own probabilities decide on the temperature.
    #[test]
    fn labels_of_any_number() {
        let mut random = rng::stream(5, "labels");
        let mut posts = Predictions::default();
        for _ in 0..3000 {
            let logits: Vec<f32> = (0..4)
                .map(|_| 12.0 * rng::unit(&mut random) as f32 - 6.0)
                .collect();
            let p = probabilities(Task::MultiLabel, &logits, 3.0);
            let has = |&class: &usize| (rng::unit(&mut random) as f32) < p[class];
            let targets: Vec<usize> = (0..4).filter(has).collect();
            posts.push(Case::Complete, logits, targets);
        }
        let fitted = fit(&posts, Case::Complete, Task::MultiLabel, 0.8);
        // Posts without a label are left out, which moves it a little.
        assert!((fitted.temperature - 3.0).abs() < 0.5, "{fitted:?}");
    }
}
