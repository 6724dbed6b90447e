//! Owns the choice between kernels that only a trial can make.
//!
//! WebAssembly does not tell which of its instructions the processor has: the relaxed product of four bytes is one
//! instruction on some and three on others, where a kernel with fewer widenings is faster. Nor is it sure that a browser
//! computes it rightly: V8 11.3, where it had to be asked for, did not. All rivals give the same integers, so that the
//! choice may fall at any time, and differently on every visit.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::product::{Finish, Matrix, Prepared};
use crate::tile::byte_kernel;

/// Place of the chosen kernel among the rivals; beyond them for none.
static RIVAL: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Milliseconds to try for at least. A browser translates a loop well only some time after it has begun to run, on
/// another thread: until then times tell nothing.
const LEAST_TIME: f64 = 150.0;
/// Rounds of all at most, whatever the clock says.
const MOST_ROUNDS: usize = 200;
/// Products a round: about a millisecond, which every browser's clock can tell.
const PRODUCTS: usize = 200;
/// Rows, inputs and outputs of a product; too small to be shared between threads.
const SIZE: [usize; 3] = [30, 768, 8];
/// What is not faster by this much is no faster.
const LEAD: f64 = 0.97;

/// Inputs that are their own bytes, as large as they may be where they meet.
const INPUTS: [i16; 8] = [127, -64, 63, -127, 1, 64, 66, 0];

pub(crate) fn rival() -> usize {
    RIVAL.load(Ordering::Relaxed)
}

/// Times the kernels for products in bytes with a `clock` in milliseconds, and takes the fastest that computes rightly
/// from now on. Returns at once where there is no choice; else it goes on for 0.15 s and until nothing has become faster
/// for half of the time.
pub fn choose(mut clock: impl FnMut() -> f64) {
    let rivals = byte_kernel().rivals.len();
    if rivals == 0 {
        return;
    }
    let mut trial = Trial::new();
    let candidates = || std::iter::once(usize::MAX).chain(0..rivals);
    let right: Vec<usize> = candidates()
        .filter(|&rival| trial.is_right(rival))
        .collect();
    let mut best = vec![f64::INFINITY; right.len()];
    let start = clock();
    let mut improved = start;
    for _ in 0..MOST_ROUNDS {
        for (&rival, best) in right.iter().zip(&mut best) {
            let begun = clock();
            for _ in 0..PRODUCTS {
                trial.run(rival);
            }
            let now = clock();
            if now - begun < LEAD * *best {
                improved = now;
            }
            *best = best.min(now - begun);
        }
        let now = clock();
        if now - start >= LEAST_TIME && now - improved >= (now - start) / 2.0 {
            break;
        }
    }
    let mut chosen: Option<(usize, f64)> = None;
    for (rival, time) in right.into_iter().zip(best) {
        if chosen.is_none_or(|(_, least)| time < LEAD * least) {
            chosen = Some((rival, time));
        }
    }
    RIVAL.store(
        chosen.map_or(usize::MAX, |(rival, _)| rival),
        Ordering::Relaxed,
    );
}

/// One product, and what it must be.
struct Trial {
    matrix: Matrix,
    x: Vec<f32>,
    prepared: Prepared,
    y: Vec<f32>,
    expected: Vec<f32>,
}

impl Trial {
    fn new() -> Self {
        let [rows, inputs, outputs] = SIZE;
        let input = |k: usize| INPUTS[k % INPUTS.len()];
        let weight = |output: usize, k: usize| ((37 * k + 11 * output) % 128) as i8 - 64;
        let mut matrix = Matrix::byte(inputs, outputs);
        let mut expected = Vec::new();
        for output in 0..outputs {
            let weights: Vec<i8> = (0..inputs).map(|k| weight(output, k)).collect();
            let set = matrix.set_byte_rows(output, &weights, &[1.0]);
            debug_assert!(set, "the trial's weights do not fit");
            let products = (0..inputs).map(|k| i32::from(input(k)) * i32::from(weights[k]));
            expected.push(products.sum::<i32>() as f32);
        }
        let x: Vec<f32> = (0..rows * inputs).map(|k| f32::from(input(k))).collect();
        let mut prepared = Prepared::default();
        matrix.prepare(&x, &mut prepared);
        Self {
            matrix,
            x,
            prepared,
            y: vec![0.0; rows * outputs],
            expected,
        }
    }

    fn run(&mut self, rival: usize) {
        RIVAL.store(rival, Ordering::Relaxed);
        let outputs = self.expected.len();
        let (x, y) = (&self.x, &mut self.y);
        self.matrix
            .multiply(x, &self.prepared, 0..outputs, y, outputs, Finish::Store);
    }

    fn is_right(&mut self, rival: usize) -> bool {
        self.run(rival);
        let mut rows = self.y.chunks_exact(self.expected.len());
        rows.all(|row| row == self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is chosen, by whatever clock, the trial's product is right.
    #[test]
    fn what_is_chosen_computes_rightly() {
        let start = std::time::Instant::now();
        choose(|| start.elapsed().as_secs_f64() * 1e3);
        let mut trial = Trial::new();
        assert!(trial.is_right(rival()), "{}", trial.matrix.kernel());
        println!("chosen: {}", trial.matrix.kernel());
        let mut runs = 0.0;
        choose(|| {
            runs -= 1.0;
            runs
        });
        assert!(trial.is_right(rival()));
    }
}
