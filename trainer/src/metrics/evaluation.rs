//! Owns the report of an evaluation: every post in each case it can appear in, and the mix that the run simulates.

use serde::{Deserialize, Serialize};
use shared::Case;
use shared::config::Task;

use super::Predictions;
use super::bootstrap::{self, Interval};
use super::confusion::Confusion;
use crate::report::Values;
use crate::report::table::Table;

/// Draws of the posts behind an interval.
const DRAWS: usize = 1_000;

/// The predictions for one split.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Every post in each case it can appear in.
    pub by_case: Vec<(Case, Predictions)>,
    /// Every post in the case that the missing table leaves it in.
    pub mixed: Predictions,
}

impl Measured {
    /// The predictions by the name of the row: the cases, then `mixed`; without those that have no posts.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &Predictions)> {
        let cases = self.by_case.iter();
        let cases = cases.map(|(case, predictions)| (case.name(), predictions));
        cases
            .chain([("mixed", &self.mixed)])
            .filter(|(_, predictions)| !predictions.is_empty())
    }
}

/// The figures of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The split: `val`, `test`.
    pub split: String,
    /// The missing table of the mix, for people: `both 0.7, seed 0`.
    pub missing: String,
    /// Complete, text missing, image missing, mixed; without the cases no post can appear in.
    pub rows: Vec<Row>,
    /// The confusion matrix of the mix, for multi-class tasks.
    pub confusion: Option<Confusion>,
    /// The figure that the rows' intervals are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The logit threshold of `f1_macro_tuned`, chosen on the mix of the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// The figures of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `complete`, `text_missing`, `image_missing` or `mixed`.
    pub case: String,
    /// How many posts.
    pub posts: usize,
    /// The figures.
    pub figures: Values,
    /// The 95 % interval of the main figure, by drawing the posts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// F1 macro of a multi-label task at the tuned threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1_macro_tuned: Option<f64>,
}

impl Evaluation {
    /// Figures from the predictions for each case and for the mix, with intervals of the figure called `main`.
    pub fn new(
        split: &str,
        missing: String,
        measured: &Measured,
        main: &str,
        task: Task,
        classes: usize,
    ) -> Self {
        let row = |(case, predictions): (&str, &Predictions)| Row {
            case: case.to_owned(),
            posts: predictions.len(),
            figures: predictions.figures(task, classes),
            // The same seed always: the interval is a property of the predictions.
            interval: bootstrap::interval(predictions, main, task, classes, DRAWS, 0),
            f1_macro_tuned: None,
        };
        Self {
            split: split.to_owned(),
            missing,
            rows: measured.rows().map(row).collect(),
            confusion: (task == Task::MultiClass).then(|| measured.mixed.confusion(classes)),
            main: Some(main.to_owned()),
            threshold: None,
        }
    }

    /// Adds F1 macro at a threshold that was tuned on validation posts, for multi-label tasks.
    #[must_use]
    pub fn at_threshold(mut self, threshold: f32, measured: &Measured, classes: usize) -> Self {
        for (row, (_, predictions)) in self.rows.iter_mut().zip(measured.rows()) {
            row.f1_macro_tuned = Some(predictions.f1_macro_at(threshold, classes));
        }
        self.threshold = Some(threshold);
        self
    }

    /// One figure of one case.
    pub fn figure(&self, case: &str, name: &str) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.case == case)?
            .figures
            .get(name)
            .copied()
    }

    /// The figures as a table: shares in percent.
    pub fn table(&self) -> Table {
        let mut names: Vec<&str> = Vec::new();
        for name in self.rows.iter().flat_map(|row| row.figures.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let tuned = self.threshold.map(|_| "f1_macro_tuned".to_owned());
        let interval = self.main.as_ref().map(|main| format!("{main}, 95 %"));
        let mut header = vec![self.split.as_str(), "posts"];
        header.extend(&names);
        header.extend(tuned.as_deref().into_iter().chain(interval.as_deref()));
        let mut table = Table::new(&header);
        let percent = |figure: f64| format!("{:.1} %", 100.0 * figure);
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
        for row in &self.rows {
            let mut cells = vec![row.case.replace('_', " "), row.posts.to_string()];
            let figures = names.iter().map(|name| row.figures.get(*name).copied());
            cells.extend(figures.map(|figure| or_dash(figure.map(percent))));
            if tuned.is_some() {
                cells.push(or_dash(row.f1_macro_tuned.map(percent)));
            }
            if interval.is_some() {
                let ends = row.interval.map(|Interval { low, high }| {
                    format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)
                });
                cells.push(or_dash(ends));
            }
            table.row(cells);
        }
        table
    }

    /// What people need to know to read the table, a sentence a line.
    pub fn notes(&self) -> String {
        let mut notes = format!("Mixed is the split with {} missing.\n", self.missing);
        if let Some(main) = &self.main {
            notes += &format!(
                "The 95 % interval of {main} is that of {DRAWS} bootstrap draws of the posts.\n"
            );
        }
        if let Some(threshold) = self.threshold {
            let probability = 1.0 / (1.0 + (-f64::from(threshold)).exp());
            notes += &format!(
                "f1_macro_tuned is at logit {threshold:.4} (probability {probability:.4}), tuned on the mixed \
                 validation posts"
            );
            notes += match self.split.as_str() {
                "val" => ", these very posts: it is too good to be reported.\n",
                _ => ".\n",
            };
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_table() {
        let mut mixed = Predictions::default();
        mixed.push(Case::Complete, vec![1.0, 0.0, 0.0], vec![0]);
        mixed.push(Case::TextMissing, vec![1.0, 0.0, 0.0], vec![2]);
        let measured = Measured {
            by_case: vec![
                (Case::Complete, mixed.of_case(Case::Complete)),
                (Case::ImageMissing, Predictions::default()),
            ],
            mixed,
        };
        let missing = || "both 0.7".to_owned();
        let of = |task, main| Evaluation::new("val", missing(), &measured, main, task, 3);
        let evaluation = of(Task::MultiClass, "accuracy");
        assert_eq!(evaluation.figure("complete", "accuracy"), Some(1.0));
        assert_eq!(evaluation.figure("mixed", "accuracy"), Some(0.5));
        assert_eq!(evaluation.figure("image_missing", "accuracy"), None);
        let table = evaluation.table().to_string();
        assert!(table.contains("mixed         2    50.0 %"), "{table}");
        assert!(table.contains("  0.0 to 100.0 %\n"), "{table}");

        let tuned = of(Task::MultiLabel, "f1_macro").at_threshold(0.5, &measured, 3);
        let table = tuned.table().to_string();
        assert!(table.contains("f1_macro_tuned"), "{table}");
        let notes = tuned.notes();
        assert!(
            notes.contains("logit 0.5000 (probability 0.6225)"),
            "{notes}"
        );
        let json = serde_json::to_string(&tuned).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), tuned);
    }

    #[test]
    fn evaluations_without_intervals_are_still_read() {
        let old = r#"{"split":"val","missing":"both 0.7, seed 0","confusion":null,
            "rows":[{"case":"mixed","posts":2,"figures":{"accuracy":0.5}}]}"#;
        let read: Evaluation = serde_json::from_str(old).unwrap();
        assert_eq!(read.figure("mixed", "accuracy"), Some(0.5));
        assert!(read.table().to_string().ends_with("50.0 %\n"));
    }
}
