//! Owns the test of a map on its own post: what is marked is taken away, and as much that was drawn at random.

use serde::{Deserialize, Serialize};

use super::Score;
use crate::rng;

/// The share of the parts that are taken away.
const MARKED: f64 = 0.2;
/// How often as many parts are drawn at random.
const DRAWS: usize = 5;

/// A test of a map on its own post: the parts on which most rests are taken away, and as many drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The marked parts, by their place: cells of the picture, or pieces of the text.
    pub marked: Vec<usize>,
    /// The class's probability in the post as it is.
    pub whole: f32,
    /// Without the marked parts.
    pub without_marked: f32,
    /// Without as many parts drawn at random: the mean of five draws.
    pub without_random: f32,
    /// By how much the log odds fall without the marked parts.
    pub fall_marked: f32,
    /// By how much they fall without parts drawn at random: the mean of five draws.
    pub fall_random: f32,
}

/// What was measured of the removal so far.
#[derive(Default)]
pub(super) struct Trial {
    marked: Vec<usize>,
    pub(super) scores: Vec<Score>,
}

impl Trial {
    /// Passes that the test takes.
    pub(super) const PASSES: usize = 1 + DRAWS;

    /// What to take away next: first the parts on which most rests, then draws; nothing once all are measured, or where
    /// a draw could only be the same.
    pub(super) fn next(&mut self, falls: &[f32]) -> Option<Vec<usize>> {
        let count = ((falls.len() as f64 * MARKED).round() as usize).max(1);
        if falls.len() <= count || self.scores.len() > DRAWS {
            return None;
        }
        let mut parts: Vec<usize> = (0..falls.len()).collect();
        if self.scores.is_empty() {
            parts.sort_by(|&a, &b| falls[b].total_cmp(&falls[a]).then(a.cmp(&b)));
            parts.truncate(count);
            self.marked.clone_from(&parts);
        } else {
            let mut draw = rng::stream(self.scores.len() as u64, "removal");
            rng::shuffle(&mut draw, &mut parts);
            parts.truncate(count);
        }
        Some(parts)
    }

    pub(super) fn removal(self, whole: Score) -> Option<Removal> {
        let (marked, draws) = self.scores.split_first()?;
        if draws.len() < DRAWS {
            return None;
        }
        let mean = |of: fn(&Score) -> f32| draws.iter().map(of).sum::<f32>() / DRAWS as f32;
        Some(Removal {
            marked: self.marked,
            whole: whole.probability,
            without_marked: marked.probability,
            without_random: mean(|score| score.probability),
            fall_marked: whole.odds - marked.odds,
            fall_random: whole.odds - mean(|score| score.odds),
        })
    }
}
