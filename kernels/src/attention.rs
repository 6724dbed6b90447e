//! Owns multi-head attention of one post, head by head, without a transpose and without the whole matrix of weights.
#![allow(unsafe_code)]

use multiversion::multiversion;

use crate::exp::exp;
use crate::parallel::{self, Nanoseconds};
use crate::product::{Output, Place, Rows, Store, sweep};
use crate::tile::{FloatKernel, float_kernel};

/// Queries that are answered together: their weights stay in the cache.
const QUERIES: usize = 48;

/// Rows of queries, keys or values: each row's first values, head by head, `stride` values from row to row.
#[derive(Clone, Copy, Default)]
pub struct Tokens<'a> {
    /// The first row, and those after it.
    pub data: &'a [f32],
    /// Values from row to row.
    pub stride: usize,
    /// How many rows.
    pub rows: usize,
}

/// What is looked at: keys with their values, in front those of a prompt, if there is one.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// Keys and values in front.
    pub prefix: [Tokens<'a>; 2],
    /// Keys and values of the tokens.
    pub tokens: [Tokens<'a>; 2],
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
pub struct Heads {
    /// How many heads.
    pub heads: usize,
    /// Values of a head.
    pub width: usize,
    /// Whether a query sees no key behind its own; the queries' own keys are then the last ones.
    pub causal: bool,
}

/// Memory for the work of all heads, kept from call to call.
#[derive(Default)]
pub struct Scratch(Vec<f32>);

impl Heads {
    /// softmax(q kᵀ + mask) v of each head, on all threads: `out` [queries, stride]. Queries are scaled already.
    ///
    /// # Panics
    /// If sizes do not agree.
    pub fn attend(
        &self,
        queries: Tokens<'_>,
        memory: Memory<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
        stride: usize,
    ) {
        let kernel = float_kernel();
        let Heads {
            heads,
            width,
            causal,
        } = *self;
        let keys = memory.prefix[0].rows + memory.tokens[0].rows;
        assert!(
            !causal || keys >= queries.rows,
            "each query needs its own key"
        );
        let (key_columns, value_columns) = (
            keys.next_multiple_of(kernel.columns),
            width.next_multiple_of(kernel.columns),
        );
        let sizes = [
            key_columns * width,
            value_columns * keys,
            QUERIES * key_columns,
            QUERIES,
        ];
        let size: usize = sizes.iter().sum();
        scratch.0.resize(heads * size, 0.0);
        let output = Output::new(out, stride, queries.rows, heads * width);
        let whole = Nanoseconds::of_products(2 * heads * width * queries.rows * keys);
        parallel::for_each_chunk(&mut scratch.0, size, whole, |head, scratch| {
            let (key_panels, rest) = scratch.split_at_mut(sizes[0]);
            let (value_panels, rest) = rest.split_at_mut(sizes[1]);
            let (weights, factors) = rest.split_at_mut(sizes[2]);
            let at = head * width;
            let mut first = 0;
            for [k, v] in [memory.prefix, memory.tokens] {
                pack_keys(kernel, key_panels, width, first, k, at);
                pack_values(kernel, value_panels, width, keys, first, v, at);
                first += k.rows;
            }
            for start in (0..queries.rows).step_by(QUERIES) {
                let rows = QUERIES.min(queries.rows - start);
                // The last of these queries sees most.
                let seen = if causal {
                    keys - queries.rows + start + rows
                } else {
                    keys
                };
                let q = Rows {
                    data: &queries.data[start * queries.stride + at..],
                    stride: queries.stride,
                    rows,
                };
                let scores = Part {
                    output: Output::new(weights, key_columns, rows, key_columns),
                    row: 0,
                    column: 0,
                    width: key_columns,
                    factors: None,
                };
                let wanted = 0..seen.div_ceil(kernel.columns);
                sweep(kernel, q, width, width, key_panels, wanted, false, &scores);
                let each = weights.chunks_exact_mut(key_columns).zip(&mut *factors);
                for (i, (row, factor)) in each.take(rows).enumerate() {
                    let seen = if causal { seen - rows + 1 + i } else { seen };
                    *factor = powers(&mut row[..seen]);
                    row[seen..].fill(0.0);
                }
                let p = Rows {
                    data: weights,
                    stride: key_columns,
                    rows,
                };
                let wanted = 0..width.div_ceil(kernel.columns);
                let answers = Part {
                    output,
                    row: start,
                    column: at,
                    width,
                    factors: Some(&*factors),
                };
                sweep(kernel, p, keys, keys, value_panels, wanted, false, &answers);
            }
        });
    }
}

/// Keys as outputs of a product: panel by panel, `width` inputs each.
fn pack_keys(
    kernel: &FloatKernel,
    panels: &mut [f32],
    width: usize,
    first: usize,
    keys: Tokens<'_>,
    at: usize,
) {
    let columns = kernel.columns;
    for row in 0..keys.rows {
        let output = first + row;
        let panel = &mut panels[output / columns * columns * width..];
        let column = panel[output % columns..].iter_mut().step_by(columns);
        let key = &keys.data[row * keys.stride + at..][..width];
        column.zip(key).for_each(|(to, &value)| *to = value);
    }
}

/// Values as inputs of a product: `width` outputs, panel by panel.
fn pack_values(
    kernel: &FloatKernel,
    panels: &mut [f32],
    width: usize,
    all: usize,
    first: usize,
    values: Tokens<'_>,
    at: usize,
) {
    let columns = kernel.columns;
    for row in 0..values.rows {
        let value = &values.data[row * values.stride + at..][..width];
        for (panel, part) in value.chunks(columns).enumerate() {
            let line = panel * columns * all + (first + row) * columns;
            panels[line..line + part.len()].copy_from_slice(part);
        }
    }
}

/// Stores a product as a part of a larger output.
struct Part<'a> {
    output: Output<'a>,
    /// The product's first row and column in the output.
    row: usize,
    column: usize,
    /// The product's columns.
    width: usize,
    /// Each of the product's rows is multiplied by its own.
    factors: Option<&'a [f32]>,
}

impl Store<f32> for Part<'_> {
    fn store(&self, at: Place, sums: &[f32], columns: usize, _: bool, _: bool) {
        let to = (at.column + columns).min(self.width);
        for (i, sums) in sums.chunks_exact(columns).enumerate() {
            let wanted = self.column + at.column..self.column + to;
            // SAFETY: each head has columns of its own, and each head belongs to one thread.
            let out = unsafe { self.output.row(self.row + at.row + i, wanted) };
            let sums = &sums[..to - at.column];
            match self.factors {
                None => out.copy_from_slice(sums),
                Some(factors) => {
                    let factor = factors[at.row + i];
                    let each = out.iter_mut().zip(sums);
                    each.for_each(|(out, sum)| *out = sum * factor);
                }
            }
        }
    }
}

/// Makes scores their exponentials, the largest 1, and returns what turns these into a softmax: one over their sum. To
/// multiply what is made of them is less work than to multiply them.
#[multiversion(targets = "simd")]
fn powers(row: &mut [f32]) -> f32 {
    const LANES: usize = 16;
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in &*chunks {
        for (top, &x) in tops.iter_mut().zip(chunk) {
            *top = larger(x, *top);
        }
    }
    let top = tops
        .iter()
        .chain(&*rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger);
    let mut sums = [0f32; LANES];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - top);
            *sum += *x;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for x in rest {
        *x = exp(*x - top);
        sum += *x;
    }
    1.0 / sum
}

#[cfg(test)]
mod tests;
