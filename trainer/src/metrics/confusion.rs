//! Owns the confusion matrix of a multi-class task.

use serde::{Deserialize, Serialize};

/// Counts of posts by true class (rows) and predicted class (columns).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Row by true class, column by predicted class.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Counts pairs of (predicted class, true class).
    pub fn count(posts: impl Iterator<Item = (usize, usize)>, classes: usize) -> Self {
        let mut counts = vec![vec![0; classes]; classes];
        for (predicted, actual) in posts {
            counts[actual][predicted] += 1;
        }
        Self { counts }
    }

    /// The `n` most frequent confusions: (true class, predicted class, posts), most frequent first.
    pub fn worst(&self, n: usize) -> Vec<(usize, usize, usize)> {
        let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
        for (actual, row) in self.counts.iter().enumerate() {
            pairs.extend(
                row.iter()
                    .enumerate()
                    .map(|(predicted, &count)| (actual, predicted, count)),
            );
        }
        pairs.retain(|&(actual, predicted, count)| actual != predicted && count > 0);
        pairs.sort_by_key(|&(actual, predicted, count)| {
            (std::cmp::Reverse(count), actual, predicted)
        });
        pairs.truncate(n);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_classes() {
        let confusion = Confusion::count([(1, 0), (1, 1), (0, 0), (2, 1)].into_iter(), 3);
        assert_eq!(confusion.counts, [[1, 1, 0], [0, 1, 1], [0, 0, 0]]);
        assert_eq!(confusion.worst(5), [(0, 1, 1), (1, 2, 1)]);
    }
}
