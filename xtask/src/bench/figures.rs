//! Owns what benchmarks make of measured times, and how they are told.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::stamp;

/// Writes a result to a file, or prints it.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn publish(result: &Value, file: Option<&Path>) -> Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    match file {
        Some(path) => stamp::write(path, format!("{text}\n").as_bytes()),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}

/// The value below which the part `q` of the values lies, between neighbours in proportion; NaN of nothing.
pub(super) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (place - place.floor()) * (high - low)
}

/// To two places.
pub(super) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), 2.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
