//! Owns quantiles of a list of numbers.

/// The quantile of ascending numbers, interpolated between the two nearest (numpy's default); `share` from 0 to 1.
/// `None` for no numbers.
pub fn quantile(ascending: &[f64], share: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (low, high) = (ascending[below], ascending[above.min(last)]);
    // Not `low + (high - low) * ..` for equal ends: infinite ends must not become NaN.
    Some(if low == high {
        low
    } else {
        low + (high - low) * (place - below as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn between_two_numbers() {
        let numbers = [1.0, 2.0, 4.0, 8.0];
        let found = [0.0, 0.25, 0.5, 0.9, 1.0].map(|share| quantile(&numbers, share).unwrap());
        for (found, expected) in found.into_iter().zip([1.0, 1.75, 3.0, 6.8, 8.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.3), Some(3.0));
    }
}
