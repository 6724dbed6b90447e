//! Owns the loops of layer normalisation over the last dimension.

use super::rows::for_blocks;

/// Mean and 1 / standard deviation (biased variance) of a row.
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = row.iter().sum::<f32>() / n;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// (x - mean) / sqrt(variance + eps) * weight + bias, row by row.
pub(in crate::nn) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let width = weight.len();
    let mut out = vec![0f32; x.len()];
    for_blocks(&mut out, width, |first, block| {
        for (i, out) in block.chunks_exact_mut(width).enumerate() {
            let row = &x[(first + i) * width..][..width];
            let (mean, scale) = moments(row, eps);
            for (((out, x), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                *out = (x - mean) * scale * w + b;
            }
        }
    });
    out
}

/// The gradient by x, given the gradient by the output.
pub(in crate::nn) fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    grad: &[f32],
) -> Vec<f32> {
    let width = weight.len();
    let mut out = vec![0f32; x.len()];
    for_blocks(&mut out, width, |first, block| {
        for (i, out) in block.chunks_exact_mut(width).enumerate() {
            let from = (first + i) * width;
            let (row, grad) = (&x[from..][..width], &grad[from..][..width]);
            let (mean, scale) = moments(row, eps);
            let (mut sum, mut dot) = (0f32, 0f32);
            for ((x, w), g) in row.iter().zip(weight).zip(grad) {
                sum += g * w;
                dot += g * w * (x - mean) * scale;
            }
            let (sum, dot) = (sum / width as f32, dot / width as f32);
            for (((out, x), w), g) in out.iter_mut().zip(row).zip(weight).zip(grad) {
                *out = scale * (g * w - sum - (x - mean) * scale * dot);
            }
        }
    });
    out
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
