//! Owns the loops of a whole block whose weights are frozen: x + attention(norm x), then x + feed-forward(norm x), forward
//! and backward by x. What is between the products is written where the next product reads it, in memory that is kept
//! from call to call.

use std::cell::Cell;

use super::attention::{Rows, RowsMut, Shape, Sight, attention, attention_backward};
use super::gelu::{quick_gelu, quick_gelu_backward};
use super::norm::{layer_norm, layer_norm_backward};
use super::product::{Target, View, new_product, product};

/// Weight [outputs, inputs] and bias `[outputs]`, or a norm's.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Layer<'a> {
    /// Row by row.
    pub(in crate::nn) weight: &'a [f32],
    /// One value an output.
    pub(in crate::nn) bias: &'a [f32],
}

/// A block's weights.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Weights<'a> {
    /// The norms before attention and feed-forward.
    pub(in crate::nn) norms: [Layer<'a>; 2],
    /// Queries, keys, values, output.
    pub(in crate::nn) attention: [Layer<'a>; 4],
    /// Up, down.
    pub(in crate::nn) feed_forward: [Layer<'a>; 2],
    /// Of the norms.
    pub(in crate::nn) eps: f32,
}

/// What goes through a block.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Sizes<'a> {
    /// Posts.
    pub(in crate::nn) batch: usize,
    /// Tokens of each.
    pub(in crate::nn) tokens: usize,
    /// Heads.
    pub(in crate::nn) heads: usize,
    /// Whether a token sees none behind itself.
    pub(in crate::nn) causal: bool,
    /// The tokens whose output is wanted.
    pub(in crate::nn) wanted: Wanted<'a>,
}

/// The tokens whose output is wanted.
#[derive(Clone, Copy)]
pub(in crate::nn) enum Wanted<'a> {
    /// So many of each post are not, from the first on.
    Behind(usize),
    /// One a post, counted in the post.
    One(&'a [usize]),
}

/// What the backward pass needs of the forward pass; m are the wanted tokens, n all of them.
pub(in crate::nn) struct Kept {
    /// Queries [m, d].
    queries: Vec<f32>,
    /// Keys without their bias [n, d], which moves all scores of a query alike and so changes nothing.
    keys: Vec<f32>,
    /// Values without their bias [n, d]: weights sum to one, so it is part of the output's ([`bias_after`]).
    values: Vec<f32>,
    /// What the feed-forward part was added to [m, d].
    middle: Vec<f32>,
    /// The activation's input without its bias [m, inner].
    inner: Vec<f32>,
}

/// Memory between the products: what it holds means nothing.
#[derive(Default)]
struct Scratch([Vec<f32>; 3]);

thread_local! {
    /// Taken while in use, so that work which a thread takes up while it waits finds another.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl Scratch {
    fn with<T>(sizes: [usize; 3], f: impl FnOnce([&mut [f32]; 3]) -> T) -> T {
        let mut scratch = SCRATCH.take();
        for (part, size) in scratch.0.iter_mut().zip(sizes) {
            if part.len() < size {
                part.resize(size, 0.0);
            }
        }
        let [a, b, c] = &mut scratch.0;
        let done = f([&mut a[..sizes[0]], &mut b[..sizes[1]], &mut c[..sizes[2]]]);
        SCRATCH.set(scratch);
        done
    }
}

impl<'a> Layer<'a> {
    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// x wᵀ.
    fn product(&self, x: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let weight = View::rows(self.weight, inputs).t();
        new_product(
            (x.len() / inputs, inputs, outputs),
            View::rows(x, inputs),
            weight,
        )
    }

    /// target += x wᵀ.
    fn add_to(&self, x: &[f32], target: &mut [f32]) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let sizes = (x.len() / inputs, inputs, outputs);
        let weight = View::rows(self.weight, inputs).t();
        let target = Target::new(target, outputs).adding();
        product(sizes, target, View::rows(x, inputs), weight, 1.0, true);
    }

    /// target = grad w, or added to it.
    fn backward(&self, grad: &[f32], target: &mut [f32], add: bool) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let sizes = (grad.len() / outputs, outputs, inputs);
        let target = Target::new(target, inputs);
        let target = if add { target.adding() } else { target };
        let weight = View::rows(self.weight, inputs);
        product(sizes, target, View::rows(grad, outputs), weight, 1.0, true);
    }
}

impl Sizes<'_> {
    fn attention<'s>(&self, width: usize, seen: &'s [usize]) -> Shape<'s> {
        let (queries, own) = match self.wanted {
            Wanted::Behind(first) => (self.tokens - first, Sight::Causal),
            Wanted::One(_) => (1, Sight::First(seen)),
        };
        Shape {
            batch: self.batch,
            queries,
            keys: self.tokens,
            width,
            heads: self.heads,
            sight: if self.causal { own } else { Sight::All },
        }
    }

    /// How many keys each post's only query sees.
    fn seen(&self) -> Vec<usize> {
        match self.wanted {
            Wanted::Behind(_) => Vec::new(),
            Wanted::One(tokens) => tokens.iter().map(|token| token + 1).collect(),
        }
    }

    /// The wanted tokens' rows among all, if they are not all.
    fn rows(&self) -> Option<Vec<usize>> {
        let post = |post: usize| post * self.tokens;
        match self.wanted {
            Wanted::Behind(0) => None,
            Wanted::Behind(first) => {
                let posts = (0..self.batch).map(post);
                Some(posts.flat_map(|at| at + first..at + self.tokens).collect())
            }
            Wanted::One(tokens) => {
                let places = tokens.iter().enumerate();
                Some(places.map(|(of, token)| post(of) + token).collect())
            }
        }
    }
}

/// These rows of x, or all, with a bias.
fn with_bias(x: &[f32], rows: Option<&[usize]>, bias: &[f32]) -> Vec<f32> {
    let width = bias.len();
    let mut out = Vec::with_capacity(rows.map_or(x.len(), |rows| rows.len() * width));
    let mut push = |row: &[f32]| out.extend(row.iter().zip(bias).map(|(x, b)| x + b));
    match rows {
        None => x.chunks_exact(width).for_each(&mut push),
        Some(rows) => rows.iter().for_each(|row| push(&x[row * width..][..width])),
    }
    out
}

/// These rows of x.
fn gather(x: &[f32], rows: &[usize], width: usize) -> Vec<f32> {
    let rows = rows.iter().map(|row| &x[row * width..][..width]);
    rows.flatten().copied().collect()
}

/// Adds rows of `from` to these rows of x.
fn scatter(x: &mut [f32], from: &[f32], rows: &[usize], width: usize) {
    for (row, from) in rows.iter().zip(from.chunks_exact(width)) {
        for (x, value) in x[row * width..][..width].iter_mut().zip(from) {
            *x += value;
        }
    }
}

/// The output's bias with what the values' bias becomes on its way through the output.
fn bias_after(value: &Layer<'_>, output: &Layer<'_>) -> Vec<f32> {
    let mut bias = output.bias.to_vec();
    output.add_to(value.bias, &mut bias);
    bias
}

/// The block's output for x [n, d]: [m, d], with what the backward pass needs.
pub(in crate::nn) fn forward(
    weights: &Weights<'_>,
    sizes: &Sizes<'_>,
    x: &[f32],
) -> (Vec<f32>, Kept) {
    let [query, key, value, output] = weights.attention;
    let [up, down] = weights.feed_forward;
    let (width, all) = (key.outputs(), sizes.batch * sizes.tokens);
    let (rows, seen) = (sizes.rows(), sizes.seen());
    let wanted = rows.as_ref().map_or(all, Vec::len);
    let inner = up.outputs();
    let sizes_of_scratch = [all * width, wanted * width, wanted * inner];
    Scratch::with(sizes_of_scratch, |[normal, attended, active]| {
        let norm = weights.norms[0];
        layer_norm(x, norm.weight, norm.bias, weights.eps, normal);
        let (keys, values) = (key.product(normal), value.product(normal));
        let mut queries = query.bias.repeat(wanted);
        match rows.as_deref() {
            None => query.add_to(normal, &mut queries),
            Some(rows) => query.add_to(&gather(normal, rows, width), &mut queries),
        }
        attention(
            sizes.attention(width, &seen),
            [&queries, &keys, &values].map(|data| Rows {
                data,
                stride: width,
            }),
            RowsMut {
                data: attended,
                stride: width,
            },
        );
        let mut middle = with_bias(x, rows.as_deref(), &bias_after(&value, &output));
        output.add_to(attended, &mut middle);

        let (norm, normal) = (weights.norms[1], attended);
        layer_norm(&middle, norm.weight, norm.bias, weights.eps, normal);
        let before = up.product(normal);
        quick_gelu(&before, up.bias, active);
        let mut out = with_bias(&middle, None, down.bias);
        down.add_to(active, &mut out);
        let kept = Kept {
            queries,
            keys,
            values,
            middle,
            inner: before,
        };
        (out, kept)
    })
}

/// The gradient by x [n, d], given that by the output [m, d].
pub(in crate::nn) fn backward(
    weights: &Weights<'_>,
    sizes: &Sizes<'_>,
    x: &[f32],
    kept: &Kept,
    grad: &[f32],
) -> Vec<f32> {
    let [query, key, value, output] = weights.attention;
    let [up, down] = weights.feed_forward;
    let width = key.outputs();
    let (rows, seen) = (sizes.rows(), sizes.seen());
    let sizes_of_scratch = [x.len(), grad.len(), kept.inner.len()];
    Scratch::with(sizes_of_scratch, |[slope, other, active]| {
        down.backward(grad, active, false);
        quick_gelu_backward(&kept.inner, up.bias, active);
        up.backward(active, other, false);
        let mut middle = grad.to_vec();
        let norm = weights.norms[1];
        layer_norm_backward(&kept.middle, norm.weight, weights.eps, other, &mut middle);

        let attended = other;
        output.backward(&middle, attended, false);
        let of = [&kept.queries, &kept.keys, &kept.values];
        let [mut queries, mut keys, mut values] = of.map(|like| vec![0f32; like.len()]);
        attention_backward(
            sizes.attention(width, &seen),
            of.map(|data| Rows {
                data,
                stride: width,
            }),
            Rows {
                data: attended,
                stride: width,
            },
            [&mut queries, &mut keys, &mut values].map(|data| RowsMut {
                data,
                stride: width,
            }),
        );
        key.backward(&keys, slope, false);
        value.backward(&values, slope, true);
        let mut dx = match &rows {
            None => {
                query.backward(&queries, slope, true);
                middle
            }
            Some(rows) => {
                query.backward(&queries, attended, false);
                scatter(slope, attended, rows, width);
                let mut dx = vec![0f32; x.len()];
                scatter(&mut dx, &middle, rows, width);
                dx
            }
        };
        let norm = weights.norms[0];
        layer_norm_backward(x, norm.weight, weights.eps, slope, &mut dx);
        dx
    })
}
