//! Owns seeded randomness: every random tensor and shuffle comes from a named stream of a stated seed.

use candle_core::{Device, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

use crate::error::Result;

/// The generator used everywhere: portable, so that a seed means the same numbers on every machine.
pub type Rng = ChaCha8Rng;

/// The stream called `name` of `seed`. Streams of different names are independent,
/// so that adding one draw somewhere does not move all the others.
pub fn stream(seed: u64, name: &str) -> Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    let mut key = [0u8; 32];
    key.copy_from_slice(&digest);
    ChaCha8Rng::from_seed(key)
}

/// A tensor of independent N(0, `std`²) values, f32.
///
/// # Errors
/// If the tensor cannot be made on the device.
pub fn normal(rng: &mut Rng, shape: &[usize], std: f64, device: &Device) -> Result<Tensor> {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| {
            let x: f64 = StandardNormal.sample(rng);
            (x * std) as f32
        })
        .collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// A tensor of independent values, uniform in [-`bound`, `bound`), f32.
///
/// # Errors
/// If the tensor cannot be made on the device.
pub fn uniform(rng: &mut Rng, shape: &[usize], bound: f64, device: &Device) -> Result<Tensor> {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| ((unit(rng) * 2.0 - 1.0) * bound) as f32)
        .collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// One value, uniform in [0, 1).
pub fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// One index, uniform in 0..`n`; 0 if `n` is 0.
pub fn below(rng: &mut Rng, n: usize) -> usize {
    ((unit(rng) * n as f64) as usize).min(n.saturating_sub(1))
}

/// Shuffles in place (Fisher-Yates).
pub fn shuffle<T>(rng: &mut Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i + 1));
    }
}
