//! Owns how sure a figure is: percentile intervals by drawing the posts anew, with replacement.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use shared::config::Task;
use shared::rng;

use super::Predictions;
use super::figure::Figure;
use super::quantile::quantile;

/// The middle 95 % of a figure's bootstrap draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its 2.5 % quantile.
    pub low: f64,
    /// Its 97.5 % quantile.
    pub high: f64,
}

/// The 95 % interval of a figure over posts: as many posts as there are, drawn with replacement `draws` times.
///
/// Only how often each post is drawn is random; the logits are looked at once. Each draw has a stream of its own, so
/// the interval does not depend on the number of threads. Draws that do not define the figure (only positives, say)
/// are left out. `None` if the task has no such figure or no draw defines it.
pub fn interval(
    p: &Predictions,
    figure: &str,
    task: Task,
    classes: usize,
    draws: usize,
    seed: u64,
) -> Option<Interval> {
    let (figure, posts) = (Figure::of(p, figure, task, classes)?, p.len());
    let draw = |draw: usize| {
        let mut rng = rng::stream(seed, &format!("bootstrap draw {draw}"));
        let mut weights = vec![0; posts];
        for _ in 0..posts {
            weights[rng::below(&mut rng, posts)] += 1;
        }
        figure.value(&weights)
    };
    let mut values: Vec<f64> = (0..draws).into_par_iter().filter_map(draw).collect();
    values.sort_by(f64::total_cmp);
    Some(Interval {
        low: quantile(&values, 0.025)?,
        high: quantile(&values, 0.975)?,
    })
}

#[cfg(test)]
mod tests {
    use shared::Case;

    use super::*;

    /// `right` of `posts` posts are classified rightly.
    fn posts(right: usize, posts: usize) -> Predictions {
        let mut all = Predictions::default();
        for i in 0..posts {
            let logits = if i < right { [1.0, 0.0] } else { [0.0, 1.0] };
            all.push(Case::Complete, logits.to_vec(), vec![0]);
        }
        all
    }

    #[test]
    fn an_accuracy_has_the_binomial_interval() {
        // Binomial(400, 0.8) / 400: 2.5 % and 97.5 % quantiles 0.76 and 0.8375.
        let found = interval(&posts(320, 400), "accuracy", Task::MultiClass, 2, 4_000, 0).unwrap();
        assert!((found.low - 0.76).abs() < 0.005, "{found:?}");
        assert!((found.high - 0.8375).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn seeds_and_figures_that_are_not_defined() {
        let posts = posts(7, 20);
        let of = |figure, seed| interval(&posts, figure, Task::MultiClass, 2, 200, seed);
        assert_eq!(of("accuracy", 1), of("accuracy", 1));
        assert_ne!(of("accuracy", 1), of("accuracy", 2));
        assert_eq!(of("auroc", 1), None);
        assert_eq!(of("perplexity", 1), None);
        let none = Predictions::default();
        assert_eq!(
            interval(&none, "accuracy", Task::MultiClass, 2, 10, 0),
            None
        );
    }
}
