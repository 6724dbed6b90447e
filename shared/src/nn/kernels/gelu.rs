//! Owns the loops of QuickGELU: t * sigmoid(1.702 t).

use multiversion::multiversion;

use super::{exp::sigmoid, rows::for_blocks};

/// The bias where there is none: blocks of this many values go to a thread at a time.
pub(in crate::nn) const NO_BIAS: [f32; 1 << 10] = [0.0; 1 << 10];

/// t * sigmoid(1.702 t) of each value with its bias, into `out`; rows are as long as `bias`.
pub(in crate::nn) fn quick_gelu(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let width = bias.len();
    for_blocks(out, width, |row, out| forward(&x[row * width..], bias, out));
}

/// The gradient by x in place of the gradient by the output.
pub(in crate::nn) fn quick_gelu_backward(x: &[f32], bias: &[f32], grad: &mut [f32]) {
    let width = bias.len();
    for_blocks(grad, width, |row, grad| {
        backward(&x[row * width..], bias, grad)
    });
}

#[multiversion(targets = "simd")]
fn forward(x: &[f32], bias: &[f32], out: &mut [f32]) {
    for (out, x) in out.chunks_mut(bias.len()).zip(x.chunks(bias.len())) {
        for ((out, x), b) in out.iter_mut().zip(x).zip(bias) {
            let t = x + b;
            *out = t * sigmoid(1.702 * t);
        }
    }
}

#[multiversion(targets = "simd")]
fn backward(x: &[f32], bias: &[f32], grad: &mut [f32]) {
    for (grad, x) in grad.chunks_mut(bias.len()).zip(x.chunks(bias.len())) {
        for ((g, x), b) in grad.iter_mut().zip(x).zip(bias) {
            let t = x + b;
            let s = sigmoid(1.702 * t);
            *g *= s + 1.702 * t * s * (1.0 - s);
        }
    }
}
