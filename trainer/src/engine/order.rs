//! Owns the order in which posts are seen: a seeded shuffle per epoch, cut into batches and steps.

use anyhow::{Result, bail};
use shared::rng;

/// The order of a run: a function of its numbers and of the step alone, so that a resumed run needs only the step.
#[derive(Clone, Debug)]
pub struct Order {
    posts: usize,
    batch_size: usize,
    accumulate: usize,
    epochs: usize,
    seed: u64,
    /// The epoch last asked for, shuffled.
    shuffled: Option<(usize, Vec<usize>)>,
}

impl Order {
    /// An order of `posts` posts in `epochs` epochs; `accumulate` batches make a step, fewer at the end of an epoch.
    ///
    /// # Errors
    /// If there are no posts, or a number is 0.
    pub fn new(
        posts: usize,
        batch_size: usize,
        accumulate: usize,
        epochs: usize,
        seed: u64,
    ) -> Result<Self> {
        if posts == 0 {
            bail!("the training split has no posts");
        }
        if batch_size == 0 || accumulate == 0 || epochs == 0 {
            bail!(
                "batch size {batch_size}, accumulation {accumulate}, epochs {epochs}: each must be at least 1"
            );
        }
        Ok(Self {
            posts,
            batch_size,
            accumulate,
            epochs,
            seed,
            shuffled: None,
        })
    }

    /// Batches per epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.posts.div_ceil(self.batch_size)
    }

    /// Optimiser steps per epoch; the incomplete rest of an epoch is a step too.
    pub fn steps_per_epoch(&self) -> usize {
        self.batches_per_epoch().div_ceil(self.accumulate)
    }

    /// Optimiser steps of the run.
    pub fn steps(&self) -> usize {
        self.steps_per_epoch() * self.epochs
    }

    /// Steps after which the schedule has ended: all batches divided by the accumulation, as in DCP's recipe. With
    /// accumulation that is a little less than [`Order::steps`]; the surplus has rate 0.
    pub fn scheduled_steps(&self) -> usize {
        (self.batches_per_epoch() * self.epochs / self.accumulate).max(1)
    }

    /// Epochs done after `step` steps.
    pub fn epoch_after(&self, step: usize) -> f64 {
        step as f64 / self.steps_per_epoch() as f64
    }

    /// The epoch that optimiser step `step` belongs to, both counted from 0.
    pub fn epoch_of(&self, step: usize) -> usize {
        step / self.steps_per_epoch()
    }

    /// The batches of optimiser step `step`, counted from 0: places in the training split.
    pub fn batches(&mut self, step: usize) -> Vec<Vec<usize>> {
        let (epoch, within) = (self.epoch_of(step), step % self.steps_per_epoch());
        if self
            .shuffled
            .as_ref()
            .is_none_or(|(shuffled, _)| *shuffled != epoch)
        {
            let mut places: Vec<usize> = (0..self.posts).collect();
            rng::shuffle(
                &mut rng::stream(self.seed, &format!("order of epoch {epoch}")),
                &mut places,
            );
            self.shuffled = Some((epoch, places));
        }
        let places = self.shuffled.as_ref().map_or(&[][..], |(_, places)| places);
        let per_step = self.batch_size * self.accumulate;
        let step = places.chunks(per_step).nth(within).unwrap_or_default();
        step.chunks(self.batch_size)
            .map(<[usize]>::to_vec)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_post_once_per_epoch_and_any_step_alone() {
        let mut order = Order::new(11, 2, 2, 3, 5).unwrap();
        assert_eq!(
            (
                order.batches_per_epoch(),
                order.steps_per_epoch(),
                order.steps()
            ),
            (6, 3, 9)
        );
        assert_eq!(order.scheduled_steps(), 9);
        let all: Vec<_> = (0..9).map(|step| order.batches(step)).collect();
        for epoch in all.chunks(3) {
            let mut seen: Vec<usize> = epoch.iter().flatten().flatten().copied().collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..11).collect::<Vec<_>>());
            assert_eq!(
                epoch[2],
                [vec![epoch[2][0][0], epoch[2][0][1]], vec![epoch[2][1][0]]]
            );
        }
        assert_ne!(all[0], all[3]);
        let mut fresh = Order::new(11, 2, 2, 3, 5).unwrap();
        assert_eq!(fresh.batches(7), all[7]);
    }

    /// Hateful Memes in DCP's recipe: 8,500 posts in batches of 4, 64 of them a step, 20 epochs.
    #[test]
    fn the_steps_of_the_recipe() {
        let order = Order::new(8_500, 4, 64, 20, 0).unwrap();
        assert_eq!(
            (
                order.batches_per_epoch(),
                order.scheduled_steps(),
                order.steps()
            ),
            (2_125, 664, 680)
        );
        assert!(Order::new(0, 4, 64, 20, 0).is_err());
    }
}
