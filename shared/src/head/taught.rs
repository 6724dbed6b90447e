//! Owns classes that are taught to a folded head by a few examples: a prototype is the normalised mean of what the head's
//! products take of them, by case and modality, exactly what the head is made of.

use super::Answer;
use super::folded::{FoldedHead, Length};
use super::prototype::SETS;
use crate::case::Case;
use crate::error::{Error, Result};

/// Sums over the examples of one class, for each of [`SETS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    posts: [u32; 4],
    /// `[D]`; none without posts.
    totals: [Option<Vec<f32>>; 4],
}

/// What a head makes of the examples of one class.
#[derive(Clone, Debug)]
pub struct TaughtRow {
    /// In the order of [`SETS`]; none where nothing is known of the modality.
    directions: [Option<Vec<f32>>; 4],
}

impl Examples {
    /// Sums that were kept, of so many examples by case code; a complete one counts in all three cases. None if the
    /// totals cannot be those of so many examples.
    pub fn of(examples: [u32; 3], totals: [Option<Vec<f32>>; 4]) -> Option<Self> {
        let complete = Case::Complete.index();
        let posts = SETS.each_ref().map(|set| match set.case {
            Case::Complete => examples[complete],
            case => examples[complete].saturating_add(examples[case.index()]),
        });
        // Each summand is at most of length 1, to rounding.
        let possible = |(&posts, total): (&u32, &Option<Vec<f32>>)| match total {
            None => posts == 0,
            Some(total) => {
                let square: f64 = total.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                posts > 0 && square.sqrt() <= 1.001 * f64::from(posts)
            }
        };
        let fits = posts.iter().zip(&totals).all(possible);
        fits.then_some(Self { posts, totals })
    }

    /// Adds the [`FoldedHead::inputs`] of a post in a case.
    pub fn add(&mut self, case: Case, inputs: &[Option<Vec<f32>>; 2]) {
        for (place, set) in SETS.iter().enumerate().filter(|(_, set)| set.case == case) {
            let Some(x) = &inputs[set.modality as usize] else {
                continue;
            };
            self.posts[place] += 1;
            let total = self.totals[place].get_or_insert_with(|| vec![0.0; x.len()]);
            total.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
        }
    }

    /// The sums `[D]` in the order of [`SETS`]; none without posts.
    pub fn totals(&self) -> [Option<&[f32]>; 4] {
        self.totals.each_ref().map(Option::as_deref)
    }

    /// The mean of a set, or where it has no examples that of the same modality in the other case.
    fn mean(&self, place: usize) -> Option<Vec<f32>> {
        let own = |&other: &usize| SETS[other].modality == SETS[place].modality;
        let places = [place].into_iter().chain((0..SETS.len()).filter(own));
        let mut found = places.filter_map(|place| {
            let total = self.totals[place].as_ref()?;
            let posts = self.posts[place] as f32;
            Some(total.iter().map(|x| x / posts).collect())
        });
        found.next()
    }
}

impl FoldedHead {
    /// The width D of features.
    pub fn width(&self) -> usize {
        let mut summands = self
            .cases
            .iter()
            .flat_map(|of| of.summands.iter().flatten());
        summands.next().map_or(0, |summand| summand.weight.inputs())
    }

    /// Refuses heads that have no prototypes.
    ///
    /// # Errors
    /// If the head has none.
    pub fn check_teachable(&self) -> Result<()> {
        if self.length != Length::One {
            return Ok(());
        }
        Err(Error::Input(
            "this classifier cannot be taught, for its head has no prototypes; train one with the head dpl or dpl_plus"
                .into(),
        ))
    }

    /// What the head makes of the examples of a class.
    ///
    /// # Errors
    /// If the head has no prototypes.
    pub fn row(&self, examples: &Examples) -> Result<TaughtRow> {
        self.check_teachable()?;
        let direction = |place: usize| examples.mean(place).map(unit);
        Ok(TaughtRow {
            directions: [0, 1, 2, 3].map(direction),
        })
    }

    /// Adds taught classes to an answer of this head on these inputs.
    pub fn extend(
        &self,
        case: Case,
        inputs: &[Option<Vec<f32>>; 2],
        rows: &[TaughtRow],
        answer: &mut Answer,
    ) {
        let of = &self.cases[case.index()];
        for row in rows {
            let mut logit = 0.0;
            for (place, set) in SETS.iter().enumerate().filter(|(_, set)| set.case == case) {
                let modality = set.modality as usize;
                let (Some(x), Some(summand)) = (&inputs[modality], &of.summands[modality]) else {
                    continue;
                };
                let dot = |p: &Vec<f32>| p.iter().zip(x).map(|(p, x)| p * x).sum::<f32>();
                let part = row.directions[place].as_ref().map_or(0.0, dot) * summand.gain;
                logit += of.factor * part;
                if let Some(parts) = &mut answer.parts[modality] {
                    parts.push(part);
                }
            }
            answer.logits.push(logit);
        }
    }
}

fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let length = x
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    x.iter_mut().for_each(|x| *x /= length);
    x
}
