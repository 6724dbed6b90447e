//! Owns line plots: several series over numbers.

use anyhow::Result;

use super::axis;
use super::frame::{Frame, Scale, colour};

/// Several series over the same horizontal axis.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What the plot shows.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x_label: String,
    /// The vertical axis, with its unit.
    pub y_label: String,
    /// Name of each series and its points (x, y), in any order. A point that is not finite interrupts the line.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Lines {
    /// The plot. The vertical axis holds the values and need not start at 0.
    ///
    /// # Errors
    /// If there is no finite point.
    pub fn svg(&self) -> Result<String> {
        let points = self.series.iter().flat_map(|(_, points)| points);
        let drawn = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        let x = axis::range(&self.title, drawn.clone().map(|&(x, _)| x), false)?;
        let y = axis::range(&self.title, drawn.map(|&(_, y)| y), false)?;
        let frame = Frame {
            title: &self.title,
            x_label: &self.x_label,
            y_label: &self.y_label,
            series: self.series.iter().map(|(name, _)| name.as_str()).collect(),
            scale: Scale::Numbers(x),
            y,
            width: 720,
            markers: true,
        };
        frame.draw(|canvas| {
            for (s, (_, points)) in self.series.iter().enumerate() {
                let mut points = points.clone();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
                for part in points.split(|point| !finite(point)) {
                    let part: Vec<_> = part.iter().map(|&(x, y)| canvas.place(x, y)).collect();
                    canvas.path(&part, colour(s), 2)?;
                    part.iter().try_for_each(|&at| canvas.marker(s, at))?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(points: &[(f64, f64)]) -> Lines {
        Lines {
            title: "Rates".into(),
            x_label: "missing rate".into(),
            y_label: "F1".into(),
            series: vec![("DPL".into(), points.to_vec())],
        }
    }

    #[test]
    fn a_marker_a_point_and_a_gap_where_there_is_none() {
        let count =
            |points: &[(f64, f64)], what| lines(points).svg().unwrap().matches(what).count();
        let whole = [(0.5, 2.0), (0.1, 1.0), (0.9, 1.5), (0.7, 1.0)];
        let mut broken = whole;
        broken[0].1 = f64::NAN;
        let legend = 1;
        assert_eq!(count(&whole, "<circle"), 4 + legend);
        assert_eq!(count(&broken, "<circle"), 3 + legend);
        let coloured = "stroke=\"#0072B2\" stroke-width=\"2\"";
        assert_eq!(count(&whole, coloured), 1 + legend);
        assert!(lines(&[(f64::NAN, 1.0)]).svg().is_err());
    }
}
