//! Owns metrics without a threshold: area under the ROC curve, average precision.

use rayon::prelude::*;
use shared::config::Task;

use super::Predictions;

/// The posts in the descending order of one class's scores: sorted once, measured with any weights of the posts.
#[derive(Clone, Debug)]
pub struct Ranking {
    order: Vec<Ranked>,
}

#[derive(Clone, Copy, Debug)]
struct Ranked {
    post: u32,
    positive: bool,
    /// Whether the next post has a lower score.
    last_of_equals: bool,
}

/// What a ranking is worth. Both are `None` unless there are posts of both kinds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    /// The share of (positive, negative) pairs in the right order, equal scores half: the area under the ROC curve.
    pub auroc: Option<f64>,
    /// The mean over positives of the precision at their score, equal scores taken together.
    pub average_precision: Option<f64>,
}

impl Ranking {
    /// Sorts posts given as (post, score, positive). A score that is not a number ranks against its post: last if it
    /// is a positive, first if it is a negative.
    pub fn new(posts: impl Iterator<Item = (usize, f32, bool)>) -> Self {
        let mut keys: Vec<u64> = posts
            .map(|(post, score, positive)| {
                let score = match (score.is_nan(), positive) {
                    (false, _) => score,
                    (true, true) => f32::NEG_INFINITY,
                    (true, false) => f32::INFINITY,
                };
                (u64::from(descending(score)) << 32) | ((post as u64) << 1) | u64::from(positive)
            })
            .collect();
        keys.sort_unstable();
        let ranked = |(i, &key): (usize, &u64)| Ranked {
            post: (key as u32) >> 1,
            positive: key & 1 == 1,
            last_of_equals: keys.get(i + 1).is_none_or(|next| next >> 32 != key >> 32),
        };
        Self {
            order: keys.iter().enumerate().map(ranked).collect(),
        }
    }

    /// What the ranking is worth, post `i` taken `weights[i]` times.
    pub fn areas(&self, weights: &[u32]) -> Areas {
        // Positives and negatives so far, and those of the present group of equal scores.
        let (mut positives, mut negatives) = (0u64, 0u64);
        let (mut positives_here, mut negatives_here) = (0u64, 0u64);
        let (mut twice_ordered, mut precisions) = (0u64, 0.0);
        for ranked in &self.order {
            let weight = u64::from(weights[ranked.post as usize]);
            if ranked.positive {
                positives_here += weight;
            } else {
                negatives_here += weight;
            }
            if ranked.last_of_equals {
                twice_ordered += negatives_here * (2 * positives + positives_here);
                positives += positives_here;
                negatives += negatives_here;
                if positives_here > 0 {
                    let precision = positives as f64 / (positives + negatives) as f64;
                    precisions += positives_here as f64 * precision;
                }
                (positives_here, negatives_here) = (0, 0);
            }
        }
        let both = positives > 0 && negatives > 0;
        let pairs = positives as f64 * negatives as f64;
        Areas {
            auroc: both.then(|| twice_ordered as f64 / (2.0 * pairs)),
            average_precision: both.then(|| precisions / positives as f64),
        }
    }
}

/// A number that grows as the score falls; both zeros are equal.
fn descending(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        bits
    } else {
        !bits & 0x7fff_ffff
    }
}

/// One ranking per class: the class against all others.
#[derive(Clone, Debug)]
pub struct Rankings(Vec<Ranking>);

impl Rankings {
    /// Multi-label tasks rank by the logit, multi-class ones by the probability, for which the log of the odds stands
    /// because it does not saturate: with two classes it is the difference of the logits. Posts of a multi-class task
    /// without a target are left out.
    pub fn of(predictions: &Predictions, task: Task, classes: usize) -> Self {
        let odds: Option<Vec<Vec<f32>>> = (task == Task::MultiClass).then(|| {
            predictions
                .logits
                .par_iter()
                .map(|row| log_odds(row))
                .collect()
        });
        let scores = odds.as_ref().unwrap_or(&predictions.logits);
        let ranking = |class: usize| {
            let rows = scores.iter().zip(&predictions.targets).enumerate();
            let posts =
                rows.filter(|(_, (_, targets))| task == Task::MultiLabel || !targets.is_empty());
            Ranking::new(posts.map(|(post, (row, targets))| {
                let score = row.get(class).copied().unwrap_or(f32::NAN);
                let positive = match task {
                    Task::MultiClass => targets.first() == Some(&class),
                    Task::MultiLabel => targets.contains(&class),
                };
                (post, score, positive)
            }))
        };
        Self((0..classes).into_par_iter().map(ranking).collect())
    }

    /// The means over the classes that have posts of both kinds; `None` if no class has.
    pub fn areas(&self, weights: &[u32]) -> Areas {
        let by_class: Vec<Areas> = self.0.iter().map(|class| class.areas(weights)).collect();
        let mean = |figure: fn(&Areas) -> Option<f64>| {
            let figures: Vec<f64> = by_class.iter().filter_map(figure).collect();
            (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
        };
        Areas {
            auroc: mean(|areas| areas.auroc),
            average_precision: mean(|areas| areas.average_precision),
        }
    }
}

/// `z_k - ln(sum over the other classes of exp z)`: ln(p_k / (1 - p_k)) of the softmax. All are NaN if one logit is.
/// Computed in double precision and rounded, so that rows which differ by a constant stay equal.
fn log_odds(logits: &[f32]) -> Vec<f32> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return vec![f32::NAN; logits.len()];
    }
    let highest = |without: Option<usize>| {
        let others = logits.iter().enumerate();
        let others = others.filter(|&(class, _)| Some(class) != without);
        others.fold((0, f64::NEG_INFINITY), |best, (class, &logit)| {
            if f64::from(logit) > best.1 {
                (class, f64::from(logit))
            } else {
                best
            }
        })
    };
    let (best, first) = highest(None);
    let (_, second) = highest(Some(best));
    let exp = |logit: f32, shift: f64| (f64::from(logit) - shift).exp();
    let all: f64 = logits.iter().map(|&logit| exp(logit, first)).sum();
    let odds = |(class, &logit): (usize, &f32)| {
        let others = if class == best {
            // Its own share may be all of the sum: the others are added up by themselves.
            let others = logits
                .iter()
                .enumerate()
                .filter(|&(other, _)| other != best);
            second
                + others
                    .map(|(_, &logit)| exp(logit, second))
                    .sum::<f64>()
                    .ln()
        } else {
            first + (all - exp(logit, first)).ln()
        };
        (f64::from(logit) - others) as f32
    };
    logits.iter().enumerate().map(odds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(scores: &[f32], positive: &[bool]) -> Areas {
        let posts = scores.iter().zip(positive).enumerate();
        let ranking = Ranking::new(posts.map(|(i, (&score, &positive))| (i, score, positive)));
        ranking.areas(&vec![1; scores.len()])
    }

    #[test]
    fn golden_number_with_a_tie() {
        let mut posts = Predictions::default();
        let logits = [
            (2.0, 1.0),
            (0.0, 0.0),
            (1.0, 3.0),
            (0.5, 0.4),
            (0.0, 2.0),
            (1.0, 1.0),
        ];
        for ((no, yes), class) in logits.into_iter().zip([0, 1, 1, 0, 1, 0]) {
            posts.push(shared::Case::Complete, vec![no, yes], vec![class]);
        }
        let area = Rankings::of(&posts, Task::MultiClass, 2)
            .areas(&[1; 6])
            .auroc;
        assert!((area.unwrap() - 17.0 / 18.0).abs() < 1e-12, "{area:?}");
    }

    #[test]
    fn precision_of_a_hand_made_ranking() {
        let found = areas(&[0.9, 0.8, -0.7, -0.8], &[true, false, true, false]);
        assert!((found.average_precision.unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(found.auroc, Some(0.75));
        let tied = areas(&[0.0, -0.0], &[true, false]);
        assert_eq!((tied.auroc, tied.average_precision), (Some(0.5), Some(0.5)));
        assert_eq!(areas(&[0.5], &[true]).average_precision, None);
        assert_eq!(areas(&[], &[]).auroc, None);
    }

    #[test]
    fn what_is_not_a_number_ranks_against_its_post() {
        let nan = f32::NAN;
        let found = areas(&[nan, 1.0, nan, -1.0], &[true, true, false, false]);
        assert_eq!(found.auroc, Some(0.25));
        assert_eq!(areas(&[nan, nan], &[true, false]).auroc, Some(0.0));
    }

    #[test]
    fn weights_are_repetitions() {
        let (scores, positive) = ([3.0, 2.0, 2.0, 1.0], [true, false, true, false]);
        let posts = (0..4).map(|i| (i, scores[i], positive[i]));
        let weighted = Ranking::new(posts).areas(&[1, 2, 0, 3]);
        let repeated = areas(
            &[3.0, 2.0, 2.0, 1.0, 1.0, 1.0],
            &[true, false, false, false, false, false],
        );
        assert_eq!(weighted, repeated);
    }

    #[test]
    fn odds_do_not_saturate() {
        let odds = log_odds(&[0.0, 200.0, 100.0, 0.0]);
        assert!((odds[1] - 100.0).abs() < 1e-4, "{odds:?}");
        assert!((odds[2] + 100.0).abs() < 1e-4, "{odds:?}");
        assert_eq!(odds[0], odds[3]);
        assert_eq!(log_odds(&[1.0, 3.0]), [-2.0, 2.0]);
        assert_eq!(log_odds(&[1.0, 2.0, 3.0]), log_odds(&[2.0, 3.0, 4.0]));
    }
}
