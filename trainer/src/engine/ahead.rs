//! Owns preparing the next step's posts on another thread while the present step is computed.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use anyhow::{Result, anyhow};

use super::order::Order;
use super::source::{Sample, Split};

/// Steps that wait, prepared, at most; each holds all its decoded pictures.
const WAITING: usize = 1;

/// The batches of the steps to come, in order.
pub struct Ahead {
    receiver: Receiver<Result<Vec<Sample>>>,
}

impl Ahead {
    /// Starts preparing steps `from..order.steps()`. The thread ends when all are taken, one failed, or this is dropped.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        split: Split<'scope>,
        mut order: Order,
        from: usize,
    ) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(move || {
            let mut epoch = order.epoch_of(from);
            let mut shown = split.of_epoch(epoch);
            for step in from..order.steps() {
                if order.epoch_of(step) != epoch {
                    epoch = order.epoch_of(step);
                    shown = split.of_epoch(epoch);
                }
                let samples: Result<Vec<Sample>> = order
                    .batches(step)
                    .iter()
                    .map(|places| shown.sample(places))
                    .collect();
                let failed = samples.is_err();
                if sender.send(samples).is_err() || failed {
                    break;
                }
            }
        });
        Self { receiver }
    }

    /// The batches of the next step.
    ///
    /// # Errors
    /// If a post cannot be read, or all steps were taken.
    pub fn next(&self) -> Result<Vec<Sample>> {
        self.receiver
            .recv()
            .map_err(|_| anyhow!("there is no step left to prepare"))?
    }
}
