//! Owns the activations of the feed-forward blocks, in place.

use crate::exp::sigmoid;

/// t * sigmoid(1.702 t) of each value.
#[inline(always)]
pub fn quick_gelu(x: &mut [f32]) {
    x.iter_mut().for_each(|t| *t *= sigmoid(1.702 * *t));
}

/// t * Phi(t) of each value.
#[inline(always)]
pub fn gelu(x: &mut [f32]) {
    x.iter_mut()
        .for_each(|t| *t *= 0.5 * (1.0 + libm::erff(*t * std::f32::consts::FRAC_1_SQRT_2)));
}
