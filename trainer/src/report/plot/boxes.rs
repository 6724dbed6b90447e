//! Owns box plots: quartiles, whiskers and values apart, for groups and series of samples.

use anyhow::Result;

use super::axis;
use super::frame::{Frame, INK, Scale, colour};
use super::same_length;
use crate::metrics::quantile::quantile;

/// Samples of several series over groups.
#[derive(Clone, Debug, Default)]
pub struct Boxes {
    /// What the plot shows.
    pub title: String,
    /// The vertical axis, with its unit.
    pub y_label: String,
    /// The groups along the horizontal axis.
    pub groups: Vec<String>,
    /// Name of each series and its samples by group; values that are not finite are left out, an empty list leaves a
    /// gap.
    pub series: Vec<(String, Vec<Vec<f64>>)>,
}

/// What a box shows (Tukey).
#[derive(Debug, PartialEq)]
struct Summary {
    /// First quartile, median, third quartile.
    quartiles: [f64; 3],
    /// The furthest values within 1.5 times the box's height of it.
    whiskers: [f64; 2],
    /// The values beyond.
    apart: Vec<f64>,
}

impl Summary {
    /// `None` for no finite values.
    fn of(sample: &[f64]) -> Option<Self> {
        let mut values: Vec<f64> = sample.iter().copied().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&values, share));
        let (low, high) = (low?, high?);
        let reach = 1.5 * (high - low);
        let near = |value: &f64| (low - reach..=high + reach).contains(value);
        let (inside, apart): (Vec<f64>, Vec<f64>) = values.iter().partition(|value| near(value));
        Some(Self {
            quartiles: [low, middle?, high],
            // The end of a box is interpolated and may lie beyond all values on that side.
            whiskers: [inside.first()?.min(low), inside.last()?.max(high)],
            apart,
        })
    }
}

impl Boxes {
    /// The plot: quartiles (interpolated as numpy does), whiskers to the furthest values within 1.5 box heights, and
    /// rings for values beyond. The vertical axis need not start at 0.
    ///
    /// # Errors
    /// If a series has not one sample per group, or there is no finite value.
    pub fn svg(&self) -> Result<String> {
        same_length(&self.title, &self.groups, &self.series)?;
        let samples = self.series.iter().flat_map(|(_, samples)| samples);
        let y = axis::range(&self.title, samples.flatten().copied(), false)?;
        let slots = self.groups.len() * (self.series.len() + 1);
        let frame = Frame {
            title: &self.title,
            x_label: "",
            y_label: &self.y_label,
            series: self.series.iter().map(|(name, _)| name.as_str()).collect(),
            scale: Scale::Groups(&self.groups),
            y,
            width: (88 + 44 * slots as i32).clamp(640, 1600),
            markers: false,
        };
        let share = 1.0 / (self.series.len() as f64 + 0.8);
        frame.draw(|canvas| {
            for (s, (_, samples)) in self.series.iter().enumerate() {
                for (group, sample) in samples.iter().enumerate() {
                    let Some(summary) = Summary::of(sample) else {
                        continue;
                    };
                    let middle = s as f64 - (self.series.len() as f64 - 1.0) / 2.0;
                    let x = group as f64 + middle * share;
                    let (left, right) = (x - 0.36 * share, x + 0.36 * share);
                    let height = |value: f64| canvas.place(x, value).1;
                    let [low, median, high] = summary.quartiles;
                    let (from, to) = (canvas.place(left, low), canvas.place(right, high));
                    let (centre, half) = ((from.0 + to.0) / 2, (to.0 - from.0) / 4);
                    let [lowest, highest] = summary.whiskers.map(height);
                    canvas.whisker(centre, lowest, highest, half)?;
                    // White first: the whisker's line must not show through the box.
                    canvas.block(from, to, plotters::style::WHITE, 1.0)?;
                    canvas.block(from, to, colour(s), 0.55)?;
                    let median = height(median);
                    canvas.path(&[(from.0, median), (to.0, median)], INK, 2)?;
                    for value in summary.apart {
                        canvas.ring((centre, height(value)), colour(s))?;
                    }
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_numbers_and_what_is_apart() {
        let found = Summary::of(&[3.0, 1.0, 2.0, 4.0, 100.0, f64::NAN]).unwrap();
        let expected = Summary {
            quartiles: [2.0, 3.0, 4.0],
            whiskers: [1.0, 4.0],
            apart: vec![100.0],
        };
        assert_eq!(found, expected);
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[2.0]).unwrap().whiskers, [2.0, 2.0]);
    }

    #[test]
    fn a_ring_for_each_value_apart() {
        let boxes = Boxes {
            title: "Simulations".into(),
            y_label: "F1".into(),
            groups: vec!["both".into(), "text".into()],
            series: vec![("DPL".into(), vec![vec![1.0, 2.0, 3.0, 4.0, 99.0], vec![]])],
        };
        let svg = boxes.svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("Simulations") && svg.contains("both"));
    }
}
