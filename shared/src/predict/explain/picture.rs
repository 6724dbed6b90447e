//! Owns the picture's part of an explanation: which parts are painted over, and what fell with them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Score;
use super::removal::{Removal, Trial};
use crate::error::Result;
use crate::predict::Classifier;

/// At most so many cells a side: more would only take longer.
const CELLS: usize = 8;
/// The side of what is painted over at once, in cells: a single patch rarely matters.
const WINDOW: usize = 2;

/// What the score rests on in the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageMap {
    /// Cells a side.
    pub side: usize,
    /// By how much the class's log odds fall on average where a cell is painted over; row by row.
    pub cells: Vec<f32>,
    /// The part of the picture that the model sees: left, top, width and height as shares of the picture's.
    pub seen: [f32; 4],
    /// What taking the marked cells away does.
    pub removal: Option<Removal>,
}

/// The picture's part of the work.
pub(super) struct Picture {
    /// Pixels a side, of the picture and of a cell; cells a side.
    size: usize,
    cell: usize,
    side: usize,
    seen: [f32; 4],
    /// Windows seen so far.
    pub(super) step: usize,
    falls: Vec<f32>,
    counts: Vec<u32>,
    pub(super) trial: Trial,
}

impl Picture {
    pub(super) fn new(classifier: &Classifier, bytes: &[u8]) -> Result<Self> {
        let vision = &classifier.network().config().clip.vision_config;
        let (size, patch) = (vision.image_size, vision.patch_size);
        let patches = (size / patch).max(1);
        let cell = patches.div_ceil(CELLS);
        let side = patches.div_ceil(cell);
        Ok(Self {
            size,
            cell: cell * patch,
            side,
            seen: classifier.images().seen(bytes)?,
            step: 0,
            falls: vec![0.0; side * side],
            counts: vec![0; side * side],
            trial: Trial::default(),
        })
    }

    /// Windows begin before the first cell, so that cells at the border are in as many as others.
    pub(super) fn windows(&self) -> usize {
        (self.side + WINDOW - 1).pow(2)
    }

    /// The cells of a window.
    pub(super) fn window(&self, step: usize) -> Vec<usize> {
        let across = self.side + WINDOW - 1;
        let span = |first: usize| {
            let cells = (first..first + WINDOW).filter_map(|at| at.checked_sub(WINDOW - 1));
            cells.filter(|&at| at < self.side).collect::<Vec<_>>()
        };
        let (rows, columns) = (span(step / across), span(step % across));
        let cells = rows
            .iter()
            .flat_map(|row| columns.iter().map(move |column| row * self.side + column));
        cells.collect()
    }

    /// Paints cells over, each with the mean colour of what is left nearest around it. A colour from elsewhere would be a
    /// new thing in the picture.
    pub(super) fn paint(&self, pixels: &mut [f32], cells: &[usize]) {
        let whole = pixels.to_vec();
        for &cell in cells {
            let around = self.around(cell, cells);
            for channel in 0..3 {
                let mean = self.mean(&whole, channel, &around);
                for line in self.lines(channel, cell) {
                    if let Some(line) = pixels.get_mut(line) {
                        line.fill(mean);
                    }
                }
            }
        }
    }

    /// The cells around one that are not painted over: those next to it, or where all of them are, those farther away.
    fn around(&self, cell: usize, painted: &[usize]) -> Vec<usize> {
        let (row, column) = (cell / self.side, cell % self.side);
        let near =
            |at: usize, reach: usize| at.saturating_sub(reach)..(at + reach + 1).min(self.side);
        let left = (1..self.side.max(2)).map(|reach| -> Vec<usize> {
            let rows = near(row, reach);
            let cells =
                rows.flat_map(|row| near(column, reach).map(move |at| row * self.side + at));
            cells.filter(|cell| !painted.contains(cell)).collect()
        });
        left.into_iter()
            .find(|cells| !cells.is_empty())
            .unwrap_or_default()
    }

    /// The mean of a channel of some cells.
    fn mean(&self, pixels: &[f32], channel: usize, cells: &[usize]) -> f32 {
        let lines = cells.iter().flat_map(|&cell| self.lines(channel, cell));
        let (mut sum, mut count) = (0.0, 0);
        for line in lines.filter_map(|line| pixels.get(line)) {
            sum += line.iter().map(|&x| f64::from(x)).sum::<f64>();
            count += line.len();
        }
        // In double precision, so that one colour stays what it is.
        (sum / count.max(1) as f64) as f32
    }

    /// Where the lines of a cell are among the pixels [3, S, S].
    fn lines(&self, channel: usize, cell: usize) -> impl Iterator<Item = Range<usize>> {
        let (row, column) = (cell / self.side * self.cell, cell % self.side * self.cell);
        let (size, last) = (self.size, (column + self.cell).min(self.size));
        (row..(row + self.cell).min(size)).map(move |row| {
            let start = (channel * size + row) * size;
            start + column..start + last
        })
    }

    pub(super) fn cells(&self) -> Vec<f32> {
        let cells = self.falls.iter().zip(&self.counts);
        cells
            .map(|(fall, count)| fall / (*count).max(1) as f32)
            .collect()
    }

    /// The log odds fell by so much without these cells.
    pub(super) fn note(&mut self, cells: &[usize], fall: f32) {
        for &cell in cells {
            self.falls[cell] += fall;
            self.counts[cell] += 1;
        }
        self.step += 1;
    }

    pub(super) fn finish(self, whole: Score) -> ImageMap {
        ImageMap {
            side: self.side,
            cells: self.cells(),
            seen: self.seen,
            removal: self.trial.removal(whole),
        }
    }
}
