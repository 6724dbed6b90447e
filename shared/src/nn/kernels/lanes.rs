//! Owns sums that compilers turn into SIMD code: in sixteen lanes, which are added at the end. A plain sum of floats has
//! one order, and so one addition at a time.

const LANES: usize = 16;

/// The sum of `f` over the values' places in all slices of one length.
#[inline(always)]
pub(super) fn sum<const N: usize>(slices: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let length = slices.first().map_or(0, |slice| slice.len());
    let whole = length / LANES * LANES;
    let mut lanes = [0f32; LANES];
    let heads = slices.map(|slice| &slice[..whole]);
    for start in (0..whole).step_by(LANES) {
        let rows = heads.map(|slice| &slice[start..start + LANES]);
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(rows.map(|row| row[lane]));
        }
    }
    let mut rest = 0f32;
    for place in whole..length {
        rest += f(slices.map(|slice| slice[place]));
    }
    lanes.iter().sum::<f32>() + rest
}

/// The largest value; minus infinity of nothing.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for row in whole {
        for (lane, &value) in lanes.iter_mut().zip(row) {
            // Comparing is one instruction, where `f32::max` would also look after what is no number.
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(
        f32::NEG_INFINITY,
        |most, &value| if value > most { value } else { most },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_counts_once() {
        for length in [0, 1, 15, 16, 17, 50] {
            let a: Vec<f32> = (0..length).map(|i| i as f32 - 7.0).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let truth: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(sum([&a, &b], |[a, b]| a * b), truth);
            let most = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&a), most);
        }
    }
}
