//! Owns products in f32.
#![allow(unsafe_code)]

use std::ops::Range;

use multiversion::multiversion;

use super::Finish;
use super::sweep::{Output, Place, Rows, Store, sweep};
use crate::buffer::Buffer;
use crate::tile::{FloatKernel, float_kernel};

/// A block of a panel takes at most this many bytes, so that it stays in the first cache.
const BLOCK_BYTES: usize = 16 << 10;

/// Weights [outputs, inputs] in panels of the kernel's columns.
pub(crate) struct FloatPanels {
    kernel: &'static FloatKernel,
    inputs: usize,
    values: Buffer<f32>,
}

impl FloatPanels {
    pub(crate) fn new(inputs: usize, outputs: usize) -> Self {
        Self::with(float_kernel(), inputs, outputs)
    }

    pub(crate) fn with(kernel: &'static FloatKernel, inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(kernel.columns);
        Self {
            kernel,
            inputs,
            values: Buffer::zeros(panels * kernel.columns * inputs),
        }
    }

    pub(crate) fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.values())
    }

    /// Sets outputs from `first` on.
    pub(crate) fn set_rows(&mut self, first: usize, rows: &[f32]) {
        let (columns, inputs) = (self.kernel.columns, self.inputs);
        let values = self.values.values_mut();
        for (i, row) in rows.chunks_exact(inputs).enumerate() {
            let output = first + i;
            let panel = &mut values[output / columns * columns * inputs..];
            let column = &mut panel[output % columns..];
            for (value, to) in row.iter().zip(column.iter_mut().step_by(columns)) {
                *to = *value;
            }
        }
    }

    pub(crate) fn scale_rows(&mut self, rows: Range<usize>, factor: f32) {
        let (columns, inputs) = (self.kernel.columns, self.inputs);
        let values = self.values.values_mut();
        for output in rows {
            let panel = &mut values[output / columns * columns * inputs..];
            let column = panel[output % columns..].iter_mut().step_by(columns);
            column.take(inputs).for_each(|value| *value *= factor);
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        stride: usize,
        rows: usize,
        range: Range<usize>,
        bias: &[f32],
        output: Output<'_>,
        finish: Finish,
    ) {
        let x = Rows {
            data: x,
            stride,
            rows,
        };
        let epilogue = Epilogue {
            output,
            range: range.clone(),
            bias,
            finish,
        };
        let columns = self.kernel.columns;
        let block = BLOCK_BYTES / (columns * size_of::<f32>());
        let wanted = range.start / columns..range.end.div_ceil(columns);
        sweep(
            self.kernel,
            x,
            self.inputs,
            block,
            self.values.values(),
            wanted,
            true,
            &epilogue,
        );
    }
}

/// Adds bias and what follows to sums in f32.
struct Epilogue<'a> {
    output: Output<'a>,
    range: Range<usize>,
    bias: &'a [f32],
    finish: Finish,
}

impl Store<f32> for Epilogue<'_> {
    fn store(&self, at: Place, sums: &[f32], columns: usize, first: bool, last: bool) {
        let from = at.column.max(self.range.start);
        let to = (at.column + columns).min(self.range.end);
        let wanted = from - self.range.start..to - self.range.start;
        let bias = &self.bias[wanted.clone()];
        for (i, sums) in sums.chunks_exact(columns).enumerate() {
            let sums = &sums[from - at.column..to - at.column];
            // SAFETY: each panel has columns of its own, and each panel belongs to one thread.
            let out = unsafe { self.output.row(at.row + i, wanted.clone()) };
            finish_row(out, sums, bias, self.finish, first, last);
        }
    }
}

#[multiversion(targets = "simd")]
fn finish_row(
    out: &mut [f32],
    sums: &[f32],
    bias: &[f32],
    finish: Finish,
    first: bool,
    last: bool,
) {
    // Whole columns of the narrowest panel at a time: short loops of an unknown length would not become SIMD code.
    const LANES: usize = 8;
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    let (sums, sums_rest) = sums.as_chunks::<LANES>();
    let (bias, bias_rest) = bias.as_chunks::<LANES>();
    for ((out, sums), bias) in out.iter_mut().zip(sums).zip(bias) {
        finish_lanes(out, sums, bias, finish, first, last);
    }
    for ((out, &sum), &bias) in out_rest.iter_mut().zip(sums_rest).zip(bias_rest) {
        finish_lanes(
            std::array::from_mut(out),
            &[sum],
            &[bias],
            finish,
            first,
            last,
        );
    }
}

#[inline(always)]
fn finish_lanes<const N: usize>(
    out: &mut [f32; N],
    sums: &[f32; N],
    bias: &[f32; N],
    finish: Finish,
    first: bool,
    last: bool,
) {
    let mut values = *sums;
    if !first {
        values.iter_mut().zip(&*out).for_each(|(y, sum)| *y += sum);
    } else if finish == Finish::Add {
        finish.apply(&mut values, out);
    }
    if last {
        values.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        if finish != Finish::Add {
            finish.apply(&mut values, out);
        }
    }
    *out = values;
}
