//! Owns the loops of QuickGELU: t * sigmoid(1.702 t).

use multiversion::multiversion;

use super::{exp::sigmoid, rows::for_blocks};

/// Blocks of this many values go to a thread at a time.
const WIDTH: usize = 1 << 10;

/// t * sigmoid(1.702 t) of each value.
pub(in crate::nn) fn quick_gelu(x: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    for_blocks(&mut out, WIDTH, |row, out| forward(&x[row * WIDTH..], out));
    out
}

/// The gradient by x, given the gradient by the output.
pub(in crate::nn) fn quick_gelu_backward(x: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    for_blocks(&mut out, WIDTH, |row, out| {
        backward(&x[row * WIDTH..], &grad[row * WIDTH..], out)
    });
    out
}

#[multiversion(targets = "simd")]
fn forward(x: &[f32], out: &mut [f32]) {
    for (out, &t) in out.iter_mut().zip(x) {
        *out = t * sigmoid(1.702 * t);
    }
}

#[multiversion(targets = "simd")]
fn backward(x: &[f32], grad: &[f32], out: &mut [f32]) {
    for ((out, &t), &g) in out.iter_mut().zip(x).zip(grad) {
        let s = sigmoid(1.702 * t);
        *out = g * (s + 1.702 * t * s * (1.0 - s));
    }
}
