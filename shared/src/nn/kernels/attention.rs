//! Owns the loops of multi-head attention, forward and backward, on [batch, tokens, width] without transposes.

use multiversion::multiversion;

use super::exp::exp;
use super::product::{Target, View, product};

/// Sizes of one attention.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Shape {
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
    /// Whether a query sees no key behind its own; the queries' own keys are the last ones, so query i sees keys
    /// 0..=(keys - queries + i).
    pub(in crate::nn) causal: bool,
}

impl Shape {
    fn head(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    /// softmax(scale q kᵀ + mask) of one head into `weights` [queries, keys].
    fn weights(&self, q: &[f32], k: &[f32], weights: &mut [f32]) {
        let target = Target {
            data: &mut *weights,
            row: self.keys,
            add: false,
        };
        let sizes = (self.queries, self.head(), self.keys);
        product(
            sizes,
            target,
            View::rows(q, self.width),
            View::rows(k, self.width).t(),
            self.scale(),
            false,
        );
        let hidden = if self.causal { self.queries - 1 } else { 0 };
        softmax(weights, self.keys, hidden);
    }
}

/// Softmax of each row. Of the first row the last `hidden` values do not count and become 0, of each further row one
/// less.
#[multiversion(targets = "simd")]
fn softmax(matrix: &mut [f32], width: usize, hidden: usize) {
    for (i, row) in matrix.chunks_exact_mut(width).enumerate() {
        let (row, hidden) = row.split_at_mut(width - hidden.saturating_sub(i));
        hidden.fill(0.0);
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = exp(*x - top));
        let norm = 1.0 / row.iter().sum::<f32>();
        row.iter_mut().for_each(|x| *x *= norm);
    }
}

/// A matrix whose rows are `row` values apart.
fn view(data: &[f32], row: usize) -> View<'_> {
    View::rows(data, row)
}

/// Calls `f` once per post with its index and its own part of each output, on all threads where there are any.
fn for_posts<const N: usize>(
    outputs: [(&mut Vec<f32>, usize); N],
    batch: usize,
    f: impl Fn(usize, [&mut [f32]; N]) + Send + Sync,
) {
    let mut parts = outputs.map(|(data, size)| data.chunks_mut(size));
    let posts: Vec<[&mut [f32]; N]> = (0..batch)
        .map(|_| parts.each_mut().map(|part| part.next().unwrap_or_default()))
        .collect();
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    {
        use rayon::prelude::*;
        posts
            .into_par_iter()
            .enumerate()
            .for_each(|(b, part)| f(b, part));
    }
    #[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
    posts
        .into_iter()
        .enumerate()
        .for_each(|(b, part)| f(b, part));
}

/// softmax(q kᵀ / sqrt(head width) + mask) v: q [batch, queries, width], k and v [batch, keys, width].
pub(in crate::nn) fn attention(shape: Shape, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let Shape {
        batch,
        queries,
        keys,
        width,
        heads,
        ..
    } = shape;
    let head = shape.head();
    let mut out = vec![0f32; q.len()];
    for_posts([(&mut out, queries * width)], batch, |b, [out]| {
        let (q, k, v) = (
            &q[b * queries * width..],
            &k[b * keys * width..],
            &v[b * keys * width..],
        );
        let mut weights = vec![0f32; queries * keys];
        for h in 0..heads {
            let at = h * head;
            shape.weights(&q[at..], &k[at..], &mut weights);
            let target = Target {
                data: &mut out[at..],
                row: width,
                add: false,
            };
            let sizes = (queries, keys, head);
            product(
                sizes,
                target,
                View::rows(&weights, keys),
                View::rows(&v[at..], width),
                1.0,
                false,
            );
        }
    });
    out
}

/// The gradients by q, k and v, given the gradient by the output; the weights are computed again, not stored.
pub(in crate::nn) fn attention_backward(
    shape: Shape,
    (q, k, v): (&[f32], &[f32], &[f32]),
    grad: &[f32],
) -> [Vec<f32>; 3] {
    let Shape {
        batch,
        queries,
        keys,
        width,
        heads,
        ..
    } = shape;
    let head = shape.head();
    let (mut dq, mut dk, mut dv) = (
        vec![0f32; q.len()],
        vec![0f32; k.len()],
        vec![0f32; v.len()],
    );
    let outputs = [
        (&mut dq, queries * width),
        (&mut dk, keys * width),
        (&mut dv, keys * width),
    ];
    for_posts(outputs, batch, |b, [dq, dk, dv]| {
        let (q, grad) = (&q[b * queries * width..], &grad[b * queries * width..]);
        let (k, v) = (&k[b * keys * width..], &v[b * keys * width..]);
        let (mut weights, mut slope) = (vec![0f32; queries * keys], vec![0f32; queries * keys]);
        for at in (0..heads).map(|h| h * head) {
            shape.weights(&q[at..], &k[at..], &mut weights);
            let target = Target {
                data: &mut dv[at..],
                row: width,
                add: false,
            };
            product(
                (keys, queries, head),
                target,
                view(&weights, keys).t(),
                view(&grad[at..], width),
                1.0,
                false,
            );
            let target = Target {
                data: &mut slope,
                row: keys,
                add: false,
            };
            product(
                (queries, head, keys),
                target,
                view(&grad[at..], width),
                view(&v[at..], width).t(),
                1.0,
                false,
            );
            for (slope, weights) in slope.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
                let mean: f32 = slope.iter().zip(weights).map(|(s, w)| s * w).sum();
                slope
                    .iter_mut()
                    .zip(weights)
                    .for_each(|(s, w)| *s = (*s - mean) * w);
            }
            let target = Target {
                data: &mut dq[at..],
                row: width,
                add: false,
            };
            product(
                (queries, keys, head),
                target,
                view(&slope, keys),
                view(&k[at..], width),
                shape.scale(),
                false,
            );
            let target = Target {
                data: &mut dk[at..],
                row: width,
                add: false,
            };
            product(
                (keys, queries, head),
                target,
                view(&slope, keys).t(),
                view(&q[at..], width),
                shape.scale(),
                false,
            );
        }
    });
    [dq, dk, dv]
}
