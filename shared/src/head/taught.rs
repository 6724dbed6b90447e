//! Owns classes that are taught to a folded head by a few examples: a prototype is the normalised mean of what the head's
//! products take of them, by case and modality, exactly what the head is made of.
//!
//! For a case c and its modalities M, of the mean m_cM of the examples and the background's mean b_cM and offset:
//!
//! ```text
//! p_cM   = unit(m_cM - b_cM)
//! part_M = gain_cM p_cM (x_M / length - b_cM)
//! logit  = factor_c sum_M part_M + mean of bias_c + offset_c
//! ```
//!
//! Features of all posts have much in common, which is taken off. A modality without examples in the case is taken from
//! the other case, with the background of that; one without any contributes the logarithm of the mean of what it gives
//! the trained classes, as of a class of which it says nothing. Without a background, b and the offset are 0.

use super::folded::{FoldedHead, Length};
use super::prototype::SETS;
use super::{Answer, Background};
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
    /// Unit vectors `[D]` in the order of [`SETS`]; none where nothing is known of the modality.
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

    /// The direction of the mean of a set from the background's, or where it has no examples that of the same modality
    /// in the other case.
    fn direction(&self, place: usize, background: Option<&Background>) -> Option<Vec<f32>> {
        let same = |&other: &usize| SETS[other].modality == SETS[place].modality;
        let places = [place].into_iter().chain((0..SETS.len()).filter(same));
        let mut found = places.filter_map(|place| {
            let total = self.totals[place].as_ref()?;
            let posts = self.posts[place] as f32;
            let mut mean: Vec<f32> = total.iter().map(|x| x / posts).collect();
            if let Some(background) = background {
                let all = mean.iter_mut().zip(&background.means[place]);
                all.for_each(|(x, b)| *x -= b);
            }
            Some(unit(mean))
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

    /// What it knows of all posts, for classes that are taught.
    pub fn background(&self) -> Option<&Background> {
        self.background.as_ref()
    }

    /// The same head with another background.
    #[must_use]
    pub fn with_background(&self, background: Background) -> Self {
        Self {
            background: Some(background),
            ..self.clone()
        }
    }

    /// The same head without one: its taught prototypes are the plain means.
    #[must_use]
    pub fn without_background(&self) -> Self {
        Self {
            background: None,
            ..self.clone()
        }
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
        let background = self.background.as_ref();
        let direction = |place: usize| examples.direction(place, background);
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
        let trained = answer.logits.len();
        let bias = of.bias.as_ref().map_or(0.0, |bias| mean(bias));
        let background = self.background.as_ref();
        let offset = background.map_or(0.0, |all| all.offsets[case.index()]);
        for row in rows {
            let mut logit = bias + offset;
            for (place, set) in SETS.iter().enumerate().filter(|(_, set)| set.case == case) {
                let modality = set.modality as usize;
                let (Some(x), Some(summand)) = (&inputs[modality], &of.summands[modality]) else {
                    continue;
                };
                let Some(parts) = &mut answer.parts[modality] else {
                    continue;
                };
                let part = match &row.directions[place] {
                    Some(direction) => {
                        let common = background.map(|all| all.means[place].as_slice());
                        summand.gain * along(direction, x, common)
                    }
                    None => neutral(&parts[..trained], of.factor),
                };
                logit += of.factor * part;
                parts.push(part);
            }
            answer.logits.push(logit);
        }
    }
}

/// How far `x`, less what is common to all, goes in a direction.
fn along(direction: &[f32], x: &[f32], common: Option<&[f32]>) -> f32 {
    let dot = |x: &[f32]| direction.iter().zip(x).map(|(p, x)| p * x).sum::<f32>();
    dot(x) - common.map_or(0.0, dot)
}

/// The part of which the likelihood is the mean of that of all `parts`.
fn neutral(parts: &[f32], factor: f32) -> f32 {
    let most = parts.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = parts
        .iter()
        .map(|part| (factor * (part - most)).exp())
        .collect();
    most + mean(&powers).ln() / factor
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
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
