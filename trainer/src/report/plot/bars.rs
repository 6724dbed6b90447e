//! Owns bar plots: groups of bars side by side, with error bars.

use anyhow::Result;

use super::axis;
use super::frame::{Frame, INK, Scale, colour};
use super::same_length;

/// Means of several series over groups.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What the plot shows.
    pub title: String,
    /// What the height of a bar means, with its unit.
    pub y_label: String,
    /// The groups along the horizontal axis.
    pub groups: Vec<String>,
    /// Name of each series and its (mean, standard deviation) by group. A mean that is not finite leaves a gap, a
    /// standard deviation of 0 (or not finite) has no error bar.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Bars {
    /// The plot. Bars start at 0, unless all of them lie in the upper half of the axis: then it is cut, and its label
    /// says so.
    ///
    /// # Errors
    /// If a series has not one value per group, or there is no finite value.
    pub fn svg(&self) -> Result<String> {
        same_length(&self.title, &self.groups, &self.series)?;
        let spread = |sd: f64| if sd.is_finite() { sd.abs() } else { 0.0 };
        let ends = self
            .series
            .iter()
            .flat_map(|(_, values)| values)
            .flat_map(|&(mean, sd)| [mean - spread(sd), mean + spread(sd)]);
        let tight = axis::range(&self.title, ends.clone(), false)?;
        let cut = tight.start > 0.5 * tight.end;
        let y = axis::range(&self.title, ends, !cut)?;
        let note = if cut {
            ", axis does not start at 0"
        } else {
            ""
        };
        let slots = self.groups.len() * (self.series.len() + 1);
        let frame = Frame {
            title: &self.title,
            x_label: "",
            y_label: &format!("{}{note}", self.y_label),
            series: self.series.iter().map(|(name, _)| name.as_str()).collect(),
            scale: Scale::Groups(&self.groups),
            width: (88 + 38 * slots as i32).clamp(640, 1600),
            markers: false,
            y: y.clone(),
        };
        let share = 1.0 / (self.series.len() as f64 + 0.8);
        let base = 0f64.clamp(y.start, y.end);
        let decimals = if y.end.max(-y.start) < 2.0 { 3 } else { 1 };
        let ends_of_axis = [-0.5, self.groups.len() as f64 - 0.5];
        frame.draw(|canvas| {
            for (s, (_, values)) in self.series.iter().enumerate() {
                for (group, &(mean, sd)) in values.iter().enumerate() {
                    if !mean.is_finite() {
                        continue;
                    }
                    let middle = s as f64 - (self.series.len() as f64 - 1.0) / 2.0;
                    let x = group as f64 + middle * share;
                    let (left, zero) = canvas.place(x - 0.46 * share, base);
                    let (right, top) = canvas.place(x + 0.46 * share, mean);
                    canvas.block((left, zero), (right, top), colour(s), 0.85)?;
                    let centre = (left + right) / 2;
                    let (sd, half) = (spread(sd), ((right - left) / 4).min(6));
                    let (low, high) = (canvas.place(x, mean - sd).1, canvas.place(x, mean + sd).1);
                    if sd > 0.0 {
                        canvas.whisker(centre, low, high, half)?;
                    }
                    if right - left >= 26 {
                        let above = if mean < 0.0 { low + 18 } else { high };
                        canvas.note(&format!("{mean:.decimals$}"), (centre, above))?;
                    }
                }
            }
            if y.start < 0.0 && y.end > 0.0 {
                canvas.path(&ends_of_axis.map(|x| canvas.place(x, 0.0)), INK, 1)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[(f64, f64)]) -> Bars {
        Bars {
            title: "Heads <\"&\">".into(),
            y_label: "accuracy, %".into(),
            groups: vec!["a".into(); values.len()],
            series: vec![("DPL".into(), values.to_vec())],
        }
    }

    #[test]
    fn one_rectangle_a_finite_mean() {
        let rectangles = |values: &[(f64, f64)]| {
            let svg = bars(values).svg().unwrap();
            svg.matches("fill=\"#0072B2\"").count()
        };
        let swatch = 1;
        assert_eq!(rectangles(&[(0.5, 0.1), (0.2, 0.0)]), 2 + swatch);
        assert_eq!(rectangles(&[(0.5, 0.1), (f64::NAN, 0.0)]), 1 + swatch);
    }

    #[test]
    fn a_cut_axis_says_so() {
        let cut = |values: &[(f64, f64)]| {
            let svg = bars(values).svg().unwrap();
            svg.contains("does not start at 0")
        };
        assert!(cut(&[(80.0, 1.0), (82.0, 1.0)]));
        assert!(!cut(&[(10.0, 1.0), (82.0, 1.0)]));
    }

    #[test]
    fn titles_are_text_and_errors_are_sentences() {
        let svg = bars(&[(0.5, 0.1)]).svg().unwrap();
        assert!(svg.contains("Heads &lt;") && !svg.contains("Heads <"));
        let mut wrong = bars(&[(0.5, 0.1)]);
        wrong.groups.push("b".into());
        let error = wrong.svg().unwrap_err().to_string();
        assert!(
            error.contains("2 groups") && error.contains("\"DPL\""),
            "{error}"
        );
        assert!(bars(&[]).svg().is_err());
    }
}
