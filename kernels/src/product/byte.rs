//! Owns products in bytes, with sums in i32 that are exact.
//!
//! Weights w are 7-bit integers times a scale of their output; inputs x are `(a - zero) * scale` with 8-bit integers a
//! and a scale and a zero of their row. What kernels sum is `Σ a u` with `u = w + 64` in 0..=127, and
//! `Σ (a - zero) w = Σ a u - 64 Σ a - zero Σ w`, where the last two sums are known beforehand: no integer is rounded.
#![allow(unsafe_code)]

use std::ops::Range;

use multiversion::multiversion;

use super::Finish;
use super::sweep::{Output, Place, Rows, Store, sweep};
use crate::buffer::Buffer;
use crate::gelu;
use crate::parallel;
use crate::tile::{ByteKernel, byte_kernel};

/// Weights are at most this, and at least one less than its negative: seven bits, which is what the relaxed product of
/// WebAssembly takes.
pub const LARGEST_WEIGHT: i8 = 63;
/// Makes weights of seven bits unsigned.
const OFFSET: i32 = 64;
/// Inputs have this many steps.
const STEPS: f32 = 255.0;

/// Rows of input in bytes.
#[derive(Default)]
pub struct ByteRows {
    values: Vec<i8>,
    stride: usize,
    rows: Vec<ByteRow>,
}

/// What is known of one row: `x = (a - zero) * scale`.
#[derive(Clone, Copy, Default)]
struct ByteRow {
    scale: f32,
    zero: i32,
    /// The sum of its bytes.
    sum: i32,
}

impl ByteRows {
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Takes rows of `width` values, on all threads.
    pub(super) fn fill(&mut self, x: &[f32], width: usize) {
        let rows = x.len() / width;
        assert!(x.len() == rows * width, "rows of another width");
        // Kernels read whole units.
        self.stride = width.next_multiple_of(4);
        if self.values.len() != rows * self.stride {
            self.values.clear();
            self.values.resize(rows * self.stride, 0);
        }
        self.rows.resize(rows, ByteRow::default());
        let known = RowsOut(self.rows.as_mut_ptr());
        // A task of some rows, so that handing them out costs little.
        let some = 16;
        let stride = self.stride;
        parallel::for_each_chunk(&mut self.values, some * stride, |index, chunk| {
            for (i, out) in chunk.chunks_exact_mut(stride).enumerate() {
                let row = index * some + i;
                let quantised = quantise(&x[row * width..][..width], out);
                // SAFETY: `row` is below the length, and each row is written once, by whoever has its chunk.
                unsafe { known.write(row, quantised) }
            }
        });
    }
}

/// The rows' facts, written by several threads.
struct RowsOut(*mut ByteRow);
// SAFETY: each element is written by one thread only, see `fill`.
unsafe impl Send for RowsOut {}
// SAFETY: as above.
unsafe impl Sync for RowsOut {}

impl RowsOut {
    /// # Safety
    /// `row` is inside, and no other thread has the same.
    unsafe fn write(&self, row: usize, value: ByteRow) {
        // SAFETY: the caller answers for it.
        unsafe { self.0.add(row).write(value) }
    }
}

/// Spreads the range of a row, zero included, over all bytes. A row that holds what is no number becomes zero.
#[multiversion(targets = "simd")]
fn quantise(x: &[f32], out: &mut [i8]) -> ByteRow {
    // 1.5 * 2^23: added to a small number it leaves the nearest integer in the low bits, without a conversion that
    // would keep the loop from being SIMD.
    const ROUND: f32 = 12_582_912.0;
    const LANES: usize = 16;
    let (mut low, mut high) = ([0f32; LANES], [0f32; LANES]);
    let chunks = x.chunks_exact(LANES);
    for (i, &x) in chunks.remainder().iter().enumerate() {
        (low[i], high[i]) = (
            if x < low[i] { x } else { low[i] },
            if x > high[i] { x } else { high[i] },
        );
    }
    for chunk in chunks {
        for ((low, high), &x) in low.iter_mut().zip(&mut high).zip(chunk) {
            *low = if x < *low { x } else { *low };
            *high = if x > *high { x } else { *high };
        }
    }
    let low = low.into_iter().fold(0f32, f32::min);
    let high = high.into_iter().fold(0f32, f32::max);
    let scale = (high - low) / STEPS;
    let inverse = 1.0 / scale;
    if !inverse.is_finite() || !scale.is_finite() {
        out.fill(0);
        return ByteRow::default();
    }
    let zero = (-128.0 - low * inverse).round_ties_even();
    // x / scale + zero is in -128..=127 but for rounding; the clamp also catches what is no number.
    let mut sums = [0i32; LANES];
    let (mut values, mut bytes) = (x.chunks_exact(LANES), out.chunks_exact_mut(LANES));
    let byte = |x: f32| {
        let a = x * inverse + zero;
        let a = if a > -128.0 { a } else { -128.0 };
        let a = if a < 127.0 { a } else { 127.0 };
        ((a + ROUND).to_bits() as i32) - (ROUND.to_bits() as i32)
    };
    for (x, out) in (&mut values).zip(&mut bytes) {
        for ((sum, &x), out) in sums.iter_mut().zip(x).zip(out) {
            let a = byte(x);
            *sum += a;
            *out = a as i8;
        }
    }
    let mut sum: i32 = sums.iter().sum();
    let done = x.len() / LANES * LANES;
    for (&x, out) in x[done..].iter().zip(&mut out[done..]) {
        let a = byte(x);
        sum += a;
        *out = a as i8;
    }
    // What pads a row to whole units counts for nothing.
    out[x.len()..].fill(0);
    ByteRow {
        scale,
        zero: zero as i32,
        sum,
    }
}

/// Weights [outputs, inputs] in panels of the kernel's columns.
pub(super) struct BytePanels {
    kernel: &'static ByteKernel,
    inputs: usize,
    values: Buffer<u8>,
    /// Of each output.
    scales: Vec<f32>,
    /// The sum of each output's weights.
    sums: Vec<i32>,
}

impl BytePanels {
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        Self::with(byte_kernel(), inputs, outputs)
    }

    pub(super) fn with(kernel: &'static ByteKernel, inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(kernel.columns);
        let padded = inputs.next_multiple_of(kernel.unit);
        Self {
            kernel,
            inputs,
            values: Buffer::zeros(panels * kernel.columns * padded),
            scales: vec![0.0; outputs],
            sums: vec![0; outputs],
        }
    }

    pub(super) fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.values().len() + 4 * (self.scales.len() + self.sums.len())
    }

    /// Sets outputs from `first` on.
    pub(super) fn set_rows(&mut self, first: usize, rows: &[i8], scales: &[f32]) {
        let (columns, unit, inputs) = (self.kernel.columns, self.kernel.unit, self.inputs);
        let padded = inputs.next_multiple_of(unit);
        let values = self.values.values_mut();
        for (i, (row, scale)) in rows.chunks_exact(inputs).zip(scales).enumerate() {
            let output = first + i;
            let panel = &mut values[output / columns * columns * padded..][..columns * padded];
            let mut sum = 0;
            for (line, part) in panel.chunks_exact_mut(columns * unit).zip(row.chunks(unit)) {
                let to = &mut line[output % columns * unit..];
                for (&value, to) in part.iter().zip(to) {
                    let value = value.clamp(-LARGEST_WEIGHT - 1, LARGEST_WEIGHT);
                    *to = (i32::from(value) + OFFSET) as u8;
                    sum += i32::from(value);
                }
            }
            (self.scales[output], self.sums[output]) = (*scale, sum);
        }
    }

    pub(super) fn scale_rows(&mut self, rows: Range<usize>, factor: f32) {
        if let Some(scales) = self.scales.get_mut(rows) {
            scales.iter_mut().for_each(|scale| *scale *= factor);
        }
    }

    pub(super) fn multiply(
        &self,
        x: &ByteRows,
        range: Range<usize>,
        bias: &[f32],
        output: Output<'_>,
        finish: Finish,
    ) {
        let epilogue = Epilogue {
            output,
            range: range.clone(),
            rows: &x.rows,
            scales: &self.scales[range.clone()],
            sums: &self.sums[range.clone()],
            bias,
            finish,
        };
        let columns = self.kernel.columns;
        let units = self.inputs.div_ceil(self.kernel.unit);
        let wanted = range.start / columns..range.end.div_ceil(columns);
        let rows = Rows {
            data: &x.values,
            stride: x.stride,
            rows: x.rows(),
        };
        sweep(
            self.kernel,
            rows,
            units,
            units,
            self.values.values(),
            wanted,
            true,
            &epilogue,
        );
    }
}

/// Brings exact sums back to f32, then bias and what follows.
struct Epilogue<'a> {
    output: Output<'a>,
    range: Range<usize>,
    rows: &'a [ByteRow],
    scales: &'a [f32],
    sums: &'a [i32],
    bias: &'a [f32],
    finish: Finish,
}

impl Store<i32> for Epilogue<'_> {
    fn store(&self, at: Place, sums: &[i32], columns: usize, _: bool, _: bool) {
        let from = at.column.max(self.range.start);
        let to = (at.column + columns).min(self.range.end);
        let wanted = from - self.range.start..to - self.range.start;
        let outputs = Outputs {
            scales: &self.scales[wanted.clone()],
            sums: &self.sums[wanted.clone()],
            bias: &self.bias[wanted.clone()],
        };
        for (i, sums) in sums.chunks_exact(columns).enumerate() {
            let sums = &sums[from - at.column..to - at.column];
            // SAFETY: each panel has columns of its own, and each panel belongs to one thread.
            let out = unsafe { self.output.row(at.row + i, wanted.clone()) };
            finish_row(out, sums, self.rows[at.row + i], outputs, self.finish);
        }
    }
}

/// What is known of some outputs.
#[derive(Clone, Copy)]
struct Outputs<'a> {
    scales: &'a [f32],
    sums: &'a [i32],
    bias: &'a [f32],
}

#[multiversion(targets = "simd")]
fn finish_row(out: &mut [f32], sums: &[i32], row: ByteRow, of: Outputs<'_>, finish: Finish) {
    let known = OFFSET * row.sum;
    let value = |sum: i32, weights: i32, scale: f32, bias: f32| {
        (sum - known - row.zero * weights) as f32 * (row.scale * scale) + bias
    };
    let outputs = of.sums.iter().zip(of.scales).zip(of.bias);
    let each = out.iter_mut().zip(sums).zip(outputs);
    if finish == Finish::Add {
        each.for_each(|((y, &sum), ((&w, &scale), &bias))| *y += value(sum, w, scale, bias));
    } else {
        each.for_each(|((y, &sum), ((&w, &scale), &bias))| *y = value(sum, w, scale, bias));
    }
    match finish {
        Finish::Store | Finish::Add => {}
        Finish::QuickGelu => gelu::quick_gelu(out),
        Finish::Gelu => gelu::gelu(out),
    }
}

#[cfg(test)]
mod tests;
