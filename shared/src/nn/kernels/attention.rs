//! Owns the loops of multi-head attention, forward and backward, on [batch, tokens, width] without transposes.
#![allow(unsafe_code)]

use multiversion::multiversion;

use super::exp::exp;
use super::lanes::{largest, sum};
use super::product::{Columns, Target, View, product};

/// Sizes of one attention.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Shape<'a> {
    /// Posts.
    pub(in crate::nn) batch: usize,
    /// Tokens that ask.
    pub(in crate::nn) queries: usize,
    /// Tokens that are looked at.
    pub(in crate::nn) keys: usize,
    /// Width of a token, all heads together.
    pub(in crate::nn) width: usize,
    /// Heads; width / heads values each.
    pub(in crate::nn) heads: usize,
    /// Which keys a query sees.
    pub(in crate::nn) sight: Sight<'a>,
}

/// Which keys a query sees.
#[derive(Clone, Copy)]
pub(in crate::nn) enum Sight<'a> {
    /// All of them.
    All,
    /// No key behind its own; the queries' own keys are the last ones, so query i sees keys 0..=(keys - queries + i).
    Causal,
    /// The first ones, post by post so many.
    First(&'a [usize]),
}

/// Queries, keys or values: rows `stride` values apart, the posts' rows one after the other.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Rows<'a> {
    /// The first row, and those after it.
    pub(in crate::nn) data: &'a [f32],
    /// Values from row to row.
    pub(in crate::nn) stride: usize,
}

/// What is written, in rows like [`Rows`].
pub(in crate::nn) struct RowsMut<'a> {
    /// The first row, and those after it.
    pub(in crate::nn) data: &'a mut [f32],
    /// Values from row to row.
    pub(in crate::nn) stride: usize,
}

/// One head of one post.
struct Head {
    queries: usize,
    /// Keys that any of the queries sees.
    keys: usize,
    /// Of these, hidden from the first query; from each further one, one less.
    hidden: usize,
    /// Values of the head, and where they begin in a row.
    width: usize,
    at: usize,
    post: usize,
    scale: f32,
}

impl Shape<'_> {
    fn head(&self, place: usize) -> Head {
        let (post, width) = (place / self.heads, self.width / self.heads);
        let (keys, hidden) = match self.sight {
            Sight::All => (self.keys, 0),
            Sight::Causal => (self.keys, self.queries.saturating_sub(1)),
            Sight::First(keys) => (keys[post], 0),
        };
        Head {
            queries: self.queries,
            keys,
            hidden,
            width,
            at: place % self.heads * width,
            post,
            scale: 1.0 / (width as f32).sqrt(),
        }
    }

    /// Calls `f` for every head of every post, on all threads where there are any, with scratch memory for `matrices`
    /// of weights.
    fn for_heads(&self, matrices: usize, f: impl Fn(Head, &mut [f32]) + Send + Sync) {
        let size = matrices * self.queries * self.keys;
        let places = 0..self.batch * self.heads;
        #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
        {
            use rayon::prelude::*;
            places.into_par_iter().for_each_init(
                || vec![0f32; size],
                |scratch, place| f(self.head(place), scratch),
            );
        }
        #[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
        {
            let mut scratch = vec![0f32; size];
            places.for_each(|place| f(self.head(place), &mut scratch));
        }
    }
}

impl Head {
    /// Where the head's values begin, in rows of so many a post.
    fn start(&self, rows: usize, stride: usize) -> usize {
        self.post * rows * stride + self.at
    }

    /// softmax(scale q kᵀ + mask) into `weights` [queries, keys].
    fn weights(&self, q: View<'_>, k: View<'_>, weights: &mut [f32]) {
        let sizes = (self.queries, self.width, self.keys);
        product(
            sizes,
            Target::new(weights, self.keys),
            q,
            k.t(),
            self.scale,
            false,
        );
        softmax(weights, self.keys, self.hidden);
    }
}

impl<'a> Rows<'a> {
    fn view(&self, head: &Head, rows: usize) -> View<'a> {
        View::rows(&self.data[head.start(rows, self.stride)..], self.stride)
    }
}

/// Softmax of each row. Of the first row the last `hidden` values do not count and become 0, of each further row one
/// less.
#[multiversion(targets = "simd")]
fn softmax(matrix: &mut [f32], width: usize, hidden: usize) {
    for (i, row) in matrix.chunks_exact_mut(width).enumerate() {
        let (row, hidden) = row.split_at_mut(width - hidden.saturating_sub(i));
        hidden.fill(0.0);
        let top = largest(row);
        row.iter_mut().for_each(|x| *x = exp(*x - top));
        let norm = 1.0 / sum([row], |[x]| x);
        row.iter_mut().for_each(|x| *x *= norm);
    }
}

/// The gradient by the scores in place of that by the weights: (s - mean) w, the mean weighted by w.
#[multiversion(targets = "simd")]
fn softmax_backward(slope: &mut [f32], weights: &[f32], width: usize) {
    for (slope, weights) in slope
        .chunks_exact_mut(width)
        .zip(weights.chunks_exact(width))
    {
        let mean = sum([slope, weights], |[s, w]| s * w);
        for (s, w) in slope.iter_mut().zip(weights) {
            *s = (*s - mean) * w;
        }
    }
}

/// softmax(q kᵀ / sqrt(head width) + mask) v: q and `out` [batch, queries, width], k and v [batch, keys, width].
pub(in crate::nn) fn attention(shape: Shape<'_>, [q, k, v]: [Rows<'_>; 3], out: RowsMut<'_>) {
    let stride = out.stride;
    let out = Columns::new(out.data, stride);
    shape.for_heads(1, |head, scratch| {
        let weights = &mut scratch[..head.queries * head.keys];
        head.weights(
            q.view(&head, shape.queries),
            k.view(&head, shape.keys),
            weights,
        );
        // SAFETY: every head of every post writes columns and rows of its own.
        let target = unsafe { out.from(head.start(shape.queries, stride)) };
        let sizes = (head.queries, head.keys, head.width);
        product(
            sizes,
            target,
            View::rows(weights, head.keys),
            v.view(&head, shape.keys),
            1.0,
            false,
        );
    });
}

/// The gradients by q, k and v, given the gradient by the output; the weights are computed again, not stored. Keys that
/// no query sees are left as they are.
pub(in crate::nn) fn attention_backward(
    shape: Shape<'_>,
    [q, k, v]: [Rows<'_>; 3],
    grad: Rows<'_>,
    [dq, dk, dv]: [RowsMut<'_>; 3],
) {
    let strides = [dq.stride, dk.stride, dv.stride];
    let [dq, dk, dv] = [dq, dk, dv].map(|rows| Columns::new(rows.data, rows.stride));
    shape.for_heads(2, |head, scratch| {
        let (weights, slope) = scratch.split_at_mut(shape.queries * shape.keys);
        let size = head.queries * head.keys;
        let (weights, slope) = (&mut weights[..size], &mut slope[..size]);
        let rows = [shape.queries, shape.keys, shape.keys];
        let starts: [usize; 3] = std::array::from_fn(|i| head.start(rows[i], strides[i]));
        // SAFETY: every head of every post writes columns and rows of its own.
        let [dq, dk, dv] = unsafe { [dq.from(starts[0]), dk.from(starts[1]), dv.from(starts[2])] };
        let (queries, keys, width, scale) = (head.queries, head.keys, head.width, head.scale);
        let (q, grad) = (q.view(&head, queries), grad.view(&head, queries));
        let (k, v) = (k.view(&head, shape.keys), v.view(&head, shape.keys));
        head.weights(q, k, weights);
        product(
            (keys, queries, width),
            dv,
            View::rows(weights, keys).t(),
            grad,
            1.0,
            false,
        );
        product(
            (queries, width, keys),
            Target::new(slope, keys),
            grad,
            v.t(),
            1.0,
            false,
        );
        softmax_backward(slope, weights, keys);
        product(
            (queries, keys, width),
            dq,
            View::rows(slope, keys),
            k,
            scale,
            false,
        );
        product(
            (keys, queries, width),
            dk,
            View::rows(slope, keys).t(),
            q,
            scale,
            false,
        );
    });
}

/// Small enough to be interpreted by Miri, which holds the promises of the unsafe blocks.
#[cfg(test)]
mod tests {
    use super::*;

    /// Values of one head of one post at (row, place).
    fn at(rows: Rows<'_>, head: &Head, count: usize, row: usize, place: usize) -> f32 {
        rows.data[(head.post * count + row) * rows.stride + head.at + place]
    }

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let number = |place: usize| (place * step % 13) as f32 / 13.0 - 0.5;
        (0..count).map(number).collect()
    }

    fn all(parts: &[Vec<f32>; 3], stride: usize) -> [Rows<'_>; 3] {
        parts.each_ref().map(|data| Rows { data, stride })
    }

    /// What is asked for, value by value: the output [batch, queries, width].
    fn expected(shape: Shape<'_>, [q, k, v]: [Rows<'_>; 3]) -> Vec<f32> {
        let mut out = vec![0.0; shape.batch * shape.queries * shape.width];
        for head in (0..shape.batch * shape.heads).map(|place| shape.head(place)) {
            for query in 0..head.queries {
                let seen = head.keys - head.hidden.saturating_sub(query);
                let score = |key: usize| {
                    let products = (0..head.width).map(|place| {
                        at(q, &head, shape.queries, query, place)
                            * at(k, &head, shape.keys, key, place)
                    });
                    (products.sum::<f32>() * head.scale).exp()
                };
                let scores: Vec<f32> = (0..seen).map(score).collect();
                let sum: f32 = scores.iter().sum();
                for place in 0..head.width {
                    let values = scores.iter().enumerate();
                    let values =
                        values.map(|(key, s)| s / sum * at(v, &head, shape.keys, key, place));
                    let row = head.post * shape.queries + query;
                    out[row * shape.width + head.at + place] = values.sum();
                }
            }
        }
        out
    }

    /// Two posts, two heads, rows further apart than they are wide; all threads there are.
    #[test]
    fn outputs_and_gradients_are_those_of_the_formula() {
        let few = [3, 2];
        for (sight, queries, keys) in [
            (Sight::All, 3, 4),
            (Sight::Causal, 3, 4),
            (Sight::First(&few), 2, 4),
        ] {
            let shape = Shape {
                batch: 2,
                queries,
                keys,
                width: 6,
                heads: 2,
                sight,
            };
            let stride = 8;
            let sizes = [queries, keys, keys].map(|rows| 2 * rows * stride);
            let inputs: [Vec<f32>; 3] =
                std::array::from_fn(|part| numbers(sizes[part], [5, 7, 3][part]));
            let outputs = |inputs: &[Vec<f32>; 3]| expected(shape, all(inputs, stride));

            let mut out = vec![f32::NAN; 2 * queries * 6];
            let given = RowsMut {
                data: &mut out,
                stride: 6,
            };
            attention(shape, all(&inputs, stride), given);
            for (ours, theirs) in out.iter().zip(outputs(&inputs)) {
                assert!((ours - theirs).abs() < 1e-6, "{ours} and {theirs}");
            }

            let slope = numbers(out.len(), 4);
            let loss = |inputs: &[Vec<f32>; 3]| -> f64 {
                let products = outputs(inputs).into_iter().zip(&slope);
                products.map(|(y, s)| f64::from(y) * f64::from(*s)).sum()
            };
            let mut found = sizes.map(|size| vec![0.0; size]);
            let [dq, dk, dv] = &mut found;
            let grad = Rows {
                data: &slope,
                stride: 6,
            };
            attention_backward(
                shape,
                all(&inputs, stride),
                grad,
                [dq, dk, dv].map(|data| RowsMut { data, stride }),
            );
            let step = 1.0 / 64.0;
            // Interpreting takes its time: some of the values.
            for place in (0..sizes[0]).step_by(5) {
                for part in 0..3 {
                    let moved = |by: f32| {
                        let mut inputs = inputs.clone();
                        inputs[part][place] += by;
                        loss(&inputs)
                    };
                    let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                    let found = f64::from(found[part][place]);
                    assert!(
                        (found - slope).abs() < 1e-4,
                        "{part} {place}: {found} and {slope}"
                    );
                }
            }
        }
    }
}
