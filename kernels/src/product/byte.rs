//! Owns products in bytes, with sums in i32 that are exact.
//!
//! Weights w are 7-bit integers times a scale of their output; inputs x are `(a - zero) * scale` with 8-bit integers a and
//! a scale and a zero of their row. What kernels sum is `Σ a u` with `u = w + 64` in 0..=127, and
//! `Σ (a - zero) w = Σ a u - 64 Σ a - zero Σ w`, where the last two sums are known beforehand: no integer is rounded.
//!
//! Kernels may sum the products of four inputs in 16 bits ([`MEETING`] says which) before they widen them. A row's scale
//! is so large that these never overflow: `127 Σ a` of the positive ones fits, and so does that of the negative ones.
//! That costs a row whose large values crowd together up to one of its bits, and others nothing.
#![allow(unsafe_code)]

use std::ops::Range;

use multiversion::multiversion;

use super::Finish;
use super::sweep::{Output, Place, Rows, Store, sweep};
use crate::buffer::Buffer;
use crate::parallel::{self, Nanoseconds};
use crate::tile::{ByteKernel, byte_kernel};

/// Weights are at most this, and at least one less than its negative: seven bits, which is what the relaxed product of
/// WebAssembly takes.
pub const LARGEST_WEIGHT: i8 = 63;
/// Makes weights of seven bits unsigned.
const OFFSET: i32 = 64;
/// The largest byte of an input, and least its negative.
const LARGEST_INPUT: f32 = 127.0;
/// Of each eight inputs, 0, 1, 4 and 5 meet in a lane of 16 bits, and so do 2, 3, 6 and 7.
const MEETING: usize = 8;
/// Those of one sign are at most this together: 127 * 258 < 2^15, and rounding adds up to half to each of the four.
const CROWD: f32 = 256.0;
/// The zero of rows with few negative values, as activations leave them: more steps for the positive ones. Four zeros
/// that meet leave room for some negative values.
const LOW_ZERO: f32 = -48.0;

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
        let whole = Nanoseconds(x.len());
        parallel::for_each_chunk(&mut self.values, some * stride, whole, |index, chunk| {
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

/// Rounds a row to bytes. A row whose scale is no number becomes zero.
#[multiversion(targets = "simd")]
fn quantise(x: &[f32], out: &mut [i8]) -> ByteRow {
    // 1.5 * 2^23: added to a small number it leaves the nearest integer in the low bits, without a conversion that
    // would keep the loop from being SIMD.
    const ROUND: f32 = 12_582_912.0;
    let (scale, zero) = steps(x);
    let inverse = 1.0 / scale;
    if !inverse.is_finite() || !scale.is_finite() {
        out.fill(0);
        return ByteRow::default();
    }
    // Values are in range but for rounding; the bounds also catch what is no number.
    let byte = |x: f32| {
        let a = x * inverse + zero;
        let a = if a > -LARGEST_INPUT {
            a
        } else {
            -LARGEST_INPUT
        };
        let a = if a < LARGEST_INPUT { a } else { LARGEST_INPUT };
        ((a + ROUND).to_bits() as i32) - (ROUND.to_bits() as i32)
    };
    const LANES: usize = 16;
    let mut sums = [0i32; LANES];
    let (mut values, mut bytes) = (x.chunks_exact(LANES), out.chunks_exact_mut(LANES));
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
    let zero = zero as i32;
    ByteRow { scale, zero, sum }
}

/// The least scale with which no byte is too large, and no four that meet are too large together; and the zero that
/// allows it.
#[inline(always)]
fn steps(x: &[f32]) -> (f32, f32) {
    const LANES: usize = 2 * MEETING;
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    // Of the values above and below zero: the largest size, and the largest sum of sizes that meet.
    let (mut tops, mut crowds) = ([[0f32; LANES]; 2], [[0f32; 4]; 2]);
    let mut look_at = |block: &[f32; LANES]| {
        let above = block.map(|x| larger(x, 0.0));
        let below = block.map(|x| larger(-x, 0.0));
        for (side, sizes) in [above, below].into_iter().enumerate() {
            for (top, size) in tops[side].iter_mut().zip(sizes) {
                *top = larger(size, *top);
            }
            // Values four places apart, of both halves; then neighbours.
            let sums: [f32; 8] = std::array::from_fn(|i| {
                let first = i + i / 4 * 4;
                sizes[first] + sizes[first + 4]
            });
            let even = [sums[0], sums[2], sums[4], sums[6]];
            let odd = [sums[1], sums[3], sums[5], sums[7]];
            for (crowd, (a, b)) in crowds[side].iter_mut().zip(even.into_iter().zip(odd)) {
                *crowd = larger(a + b, *crowd);
            }
        }
    };
    let (blocks, rest) = x.as_chunks();
    blocks.iter().for_each(&mut look_at);
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    look_at(&last);
    let [high, low] = tops.map(|tops| tops.into_iter().fold(0f32, f32::max));
    let [above, below] = crowds.map(|crowds| crowds.into_iter().fold(0f32, f32::max));
    let middle = (high.max(low) / LARGEST_INPUT).max(above.max(below) / CROWD);
    let shifted = (high / (LARGEST_INPUT - LOW_ZERO))
        .max(low / (LARGEST_INPUT + LOW_ZERO))
        .max(above / CROWD)
        .max(below / (CROWD + 4.0 * LOW_ZERO));
    if shifted < middle {
        (shifted, LOW_ZERO)
    } else {
        (middle, 0.0)
    }
}

fn in_range(weight: i8) -> i8 {
    weight.clamp(-LARGEST_WEIGHT - 1, LARGEST_WEIGHT)
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
        self.kernel.chosen().name
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
            for (line, part) in panel.chunks_exact_mut(columns * unit).zip(row.chunks(unit)) {
                let to = &mut line[output % columns * unit..];
                for (&value, to) in part.iter().zip(to) {
                    *to = (i32::from(in_range(value)) + OFFSET) as u8;
                }
            }
            self.scales[output] = *scale;
            self.sums[output] = row.iter().map(|&w| i32::from(in_range(w))).sum();
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
        let kernel = self.kernel.chosen();
        let columns = kernel.columns;
        let units = self.inputs.div_ceil(kernel.unit);
        let wanted = range.start / columns..range.end.div_ceil(columns);
        let rows = Rows {
            data: &x.values,
            stride: x.stride,
            rows: x.rows(),
        };
        sweep(
            kernel,
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
        let of = Outputs {
            scales: &self.scales[wanted.clone()],
            sums: &self.sums[wanted.clone()],
            bias: &self.bias[wanted.clone()],
        };
        for (i, sums) in sums.chunks_exact(columns).enumerate() {
            let sums = &sums[from - at.column..to - at.column];
            // SAFETY: each panel has columns of its own, and each panel belongs to one thread.
            let out = unsafe { self.output.row(at.row + i, wanted.clone()) };
            finish_row(out, sums, self.rows[at.row + i], of, self.finish);
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
    // Whole columns of the narrowest panel at a time: short loops of an unknown length would not become SIMD code.
    const LANES: usize = 8;
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    let (sums, sums_rest) = sums.as_chunks::<LANES>();
    let (scales, scales_rest) = of.scales.as_chunks::<LANES>();
    let (weights, weights_rest) = of.sums.as_chunks::<LANES>();
    let (bias, bias_rest) = of.bias.as_chunks::<LANES>();
    let outputs = weights.iter().zip(scales).zip(bias);
    for ((out, sums), ((weights, scales), bias)) in out.iter_mut().zip(sums).zip(outputs) {
        finish_lanes(out, sums, row, (weights, scales, bias), finish);
    }
    let outputs = weights_rest.iter().zip(scales_rest).zip(bias_rest);
    for ((out, &sum), ((&w, &scale), &bias)) in out_rest.iter_mut().zip(sums_rest).zip(outputs) {
        let out = std::array::from_mut(out);
        finish_lanes(out, &[sum], row, (&[w], &[scale], &[bias]), finish);
    }
}

#[inline(always)]
fn finish_lanes<const N: usize>(
    out: &mut [f32; N],
    sums: &[i32; N],
    row: ByteRow,
    (weights, scales, bias): (&[i32; N], &[f32; N], &[f32; N]),
    finish: Finish,
) {
    let known = OFFSET * row.sum;
    let mut values: [f32; N] = std::array::from_fn(|lane| {
        let sum = sums[lane] - known - row.zero * weights[lane];
        sum as f32 * (row.scale * scales[lane]) + bias[lane]
    });
    finish.apply(&mut values, out);
    *out = values;
}

#[cfg(test)]
mod tests;
