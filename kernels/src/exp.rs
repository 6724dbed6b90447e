//! Owns the exponential of the hot loops: branch-free, so that compilers turn the loop into SIMD code everywhere.

/// e^x with a relative error below 3e-7; about 1e-38 below -87, finite above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to the nearest integer and leaves n in the low
    // bits, from where a shift moves it into the exponent: no conversion that would keep the loop from being SIMD.
    const ROUND: f32 = 12_582_912.0;
    // Not `clamp`, which WebAssembly has no single instruction for; what is no number stays so.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let e = p * r * r + r + 1.0;
    f32::from_bits(e.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close_everywhere() {
        let mut worst = 0f64;
        for i in (-870_000..880_000).step_by(if cfg!(miri) { 5_000 } else { 1 }) {
            let x = i as f32 * 1e-4;
            let truth = f64::from(x).exp();
            worst = worst.max((f64::from(super::exp(x)) - truth).abs() / truth);
        }
        assert!(worst < 3e-7, "relative error {worst}");
        assert!(super::exp(-1e30) < 1e-37 && super::exp(1e30).is_finite());
    }
}
