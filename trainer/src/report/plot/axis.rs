//! Owns an axis of numbers: its range with some air, and round numbers along it.

use std::ops::Range;

use anyhow::{Result, ensure};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// A linear axis with its own choice of numbers: multiples of 1, 2 or 5 times a power of ten, all with the same number
/// of decimals.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    range: Range<f64>,
    numbers: Vec<f64>,
    decimals: usize,
}

impl Axis {
    /// At most about `most` numbers.
    pub(super) fn new(range: Range<f64>, most: usize) -> Self {
        let least = (range.end - range.start) / most as f64;
        let power = 10f64.powf(least.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9));
        let step = step.unwrap_or(least);
        let (first, last) = ((range.start / step).ceil(), (range.end / step).floor());
        Self {
            range,
            numbers: (first as i64..=last as i64)
                .map(|i| i as f64 * step)
                .collect(),
            decimals: (-step.log10().floor()).max(0.0) as usize,
        }
    }

    /// An axis without numbers and marks.
    pub(super) fn without_numbers(range: Range<f64>) -> Self {
        Self {
            range,
            numbers: Vec::new(),
            decimals: 0,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.numbers.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

/// The range of finite values with some air; `zero` makes it begin at 0 (or end there).
pub(super) fn range(
    title: &str,
    values: impl Iterator<Item = f64>,
    zero: bool,
) -> Result<Range<f64>> {
    let finite = values.filter(|value| value.is_finite());
    let (mut low, mut high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    ensure!(
        low <= high,
        "there is nothing to draw in the plot {title:?}: it has no finite value"
    );
    if zero {
        (low, high) = (low.min(0.0), high.max(0.0));
    }
    let air = match 0.06 * (high - low) {
        air if air > 1e-9 * high.abs().max(low.abs()) => air,
        _ if low == 0.0 => 1.0,
        _ => 0.05 * low.abs(),
    };
    let below = if zero && low == 0.0 { 0.0 } else { air };
    let above = if zero && high == 0.0 { 0.0 } else { air };
    Ok(low - below..high + above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round() {
        let words = |range: Range<f64>| {
            let axis = Axis::new(range, 8);
            let words: Vec<_> = axis.numbers.iter().map(|n| axis.format_ext(n)).collect();
            words.join(" ")
        };
        assert_eq!(words(54.3..84.0), "55 60 65 70 75 80");
        assert_eq!(words(0.788..0.838), "0.79 0.80 0.81 0.82 0.83");
        assert_eq!(words(-2.2..4.2), "-2 -1 0 1 2 3 4");
        assert_eq!(words(0.0..1060.0), "0 200 400 600 800 1000");
    }

    #[test]
    fn ranges_have_air_and_never_collapse() {
        let of = |values: &[f64], zero| range("t", values.iter().copied(), zero).unwrap();
        assert_eq!(of(&[0.0, 100.0], true), 0.0..106.0);
        assert_eq!(of(&[40.0, 60.0], false), 38.8..61.2);
        assert_eq!(of(&[-100.0, f64::NAN], true), -106.0..0.0);
        for single in [0.0, 5.0, -5.0] {
            let found = of(&[single], false);
            assert!(found.start < single && single < found.end, "{found:?}");
        }
        let error = range("empty", [f64::NAN].into_iter(), true).unwrap_err();
        assert!(error.to_string().contains("nothing to draw"), "{error}");
    }
}
