//! Owns the loops of layer normalisation over the last dimension.

use multiversion::multiversion;

use super::lanes::sum;
use super::rows::for_blocks;

/// Mean and 1 / standard deviation (biased variance) of a row.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum([row], |[x]| x) / n;
    let variance = sum([row], |[x]| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// (x - mean) / sqrt(variance + eps) * weight + bias, row by row, into `out`.
pub(in crate::nn) fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let width = weight.len();
    for_blocks(out, width, |first, out| {
        forward(&x[first * width..], weight, bias, eps, out)
    });
}

#[multiversion(targets = "simd")]
fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let (mean, scale) = moments(row, eps);
        for (((out, x), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
            *out = (x - mean) * scale * w + b;
        }
    }
}

/// Adds the gradient by x to `out`, given the gradient by the output.
pub(in crate::nn) fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    grad: &[f32],
    out: &mut [f32],
) {
    let width = weight.len();
    for_blocks(out, width, |first, out| {
        let from = first * width;
        backward(&x[from..], weight, eps, &grad[from..], out)
    });
}

#[multiversion(targets = "simd")]
fn backward(x: &[f32], weight: &[f32], eps: f32, grad: &[f32], out: &mut [f32]) {
    let width = weight.len();
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
    for ((row, grad), out) in rows.zip(out.chunks_exact_mut(width)) {
        let (mean, scale) = moments(row, eps);
        let total = sum([weight, grad], |[w, g]| g * w) / width as f32;
        let dot = sum([row, weight, grad], |[x, w, g]| g * w * (x - mean)) * scale / width as f32;
        for (((out, x), w), g) in out.iter_mut().zip(row).zip(weight).zip(grad) {
            *out += scale * (g * w - total - (x - mean) * scale * dot);
        }
    }
}

/// The gradients by weight and bias.
pub(in crate::nn) fn layer_norm_parameters(
    x: &[f32],
    width: usize,
    eps: f32,
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut weight, mut bias) = (vec![0f32; width], vec![0f32; width]);
    for (row, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
        let (mean, scale) = moments(row, eps);
        for (((dw, db), x), g) in weight.iter_mut().zip(bias.iter_mut()).zip(row).zip(grad) {
            *dw += g * (x - mean) * scale;
            *db += g;
        }
    }
    (weight, bias)
}
