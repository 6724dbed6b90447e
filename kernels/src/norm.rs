//! Owns layer normalisation of rows.

use multiversion::multiversion;

use crate::parallel::{self, Nanoseconds};

/// Rows that go to a thread at a time.
const SOME: usize = 16;

/// A layer norm: weight and bias of one width.
pub struct Norm {
    /// One factor a value.
    pub weight: Vec<f32>,
    /// One summand a value.
    pub bias: Vec<f32>,
    /// Keeps the division from zero.
    pub eps: f32,
}

impl Norm {
    /// `(x - mean) / sqrt(variance + eps) * weight + bias` of each row of `x`, into `out`, on all threads.
    ///
    /// # Panics
    /// If sizes do not agree.
    pub fn rows(&self, x: &[f32], out: &mut [f32]) {
        let width = self.weight.len();
        assert!(x.len() == out.len() && x.len().is_multiple_of(width));
        let whole = Nanoseconds(x.len());
        parallel::for_each_chunk(out, SOME * width, whole, |index, out| {
            let x = &x[index * SOME * width..][..out.len()];
            for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(x);
                row(out, &self.weight, &self.bias, self.eps);
            }
        });
    }

    /// The same in place.
    ///
    /// # Panics
    /// If `x` is not of whole rows.
    pub fn in_place(&self, x: &mut [f32]) {
        let width = self.weight.len();
        assert!(x.len().is_multiple_of(width));
        let whole = Nanoseconds(x.len());
        parallel::for_each_chunk(x, SOME * width, whole, |_, x| {
            for x in x.chunks_exact_mut(width) {
                row(x, &self.weight, &self.bias, self.eps);
            }
        });
    }
}

#[multiversion(targets = "simd")]
fn row(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((x, w), b) in x.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * scale * w + b;
    }
}

/// A sum in lanes, which compilers turn into SIMD code: they may not reorder a plain one.
#[inline(always)]
pub(crate) fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&x| of(x)).sum();
    for chunk in chunks {
        sums.iter_mut()
            .zip(chunk)
            .for_each(|(sum, &x)| *sum += of(x));
    }
    rest + sums.iter().sum::<f32>()
}
