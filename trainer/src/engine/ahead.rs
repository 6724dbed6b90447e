//! Owns preparing the next step's posts on another thread while the present step is computed.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use anyhow::{Result, anyhow};

use super::group::Share;
use super::order::Order;
use super::source::{Sample, Split};

/// Steps that wait, prepared, at most; each holds all its decoded pictures.
const WAITING: usize = 1;

/// A process's piece of a batch.
pub struct Piece {
    /// Its posts.
    pub sample: Sample,
    /// How much of the batch they are, up to 1.
    pub share: f64,
}

/// The batches of the steps to come, in order: this process's pieces, where there are any.
pub struct Ahead {
    receiver: Receiver<Result<Vec<Option<Piece>>>>,
}

impl Ahead {
    /// Starts preparing steps `from..order.steps()`, of each batch this process's `share`. The thread ends when all are taken, one failed, or this is dropped.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        split: Split<'scope>,
        mut order: Order,
        from: usize,
        share: Share,
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
                let batches = order.batches(step);
                let pieces = batches.iter().map(|batch| {
                    let own = share.of(batch);
                    let piece = (!own.is_empty()).then(|| {
                        Ok(Piece {
                            sample: shown.sample(own)?,
                            share: own.len() as f64 / batch.len() as f64,
                        })
                    });
                    piece.transpose()
                });
                let pieces = pieces.collect::<Result<Vec<_>>>();
                let failed = pieces.is_err();
                if sender.send(pieces).is_err() || failed {
                    break;
                }
            }
        });
        Self { receiver }
    }

    /// The pieces of the next step's batches.
    ///
    /// # Errors
    /// If a post cannot be read, or all steps were taken.
    pub fn next(&self) -> Result<Vec<Option<Piece>>> {
        self.receiver
            .recv()
            .map_err(|_| anyhow!("there is no step left to prepare"))?
    }
}
