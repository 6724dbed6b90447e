//! Owns the report of an evaluation: every post in each case it can appear in, and the mix that the run simulates.

use serde::{Deserialize, Serialize};
use shared::Case;
use shared::config::Task;

use super::Predictions;
use super::confusion::Confusion;
use crate::report::Values;
use crate::report::table::Table;

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
}

impl Evaluation {
    /// Figures from the predictions for each case and for the mix.
    pub fn new(
        split: &str,
        missing: String,
        by_case: &[(Case, Predictions)],
        mixed: &Predictions,
        task: Task,
        classes: usize,
    ) -> Self {
        let row = |case: &str, predictions: &Predictions| Row {
            case: case.to_owned(),
            posts: predictions.len(),
            figures: predictions.figures(task, classes),
        };
        let named = by_case
            .iter()
            .map(|(case, predictions)| (case.name(), predictions));
        let rows = named
            .chain([("mixed", mixed)])
            .filter(|(_, predictions)| !predictions.is_empty());
        Self {
            split: split.to_owned(),
            missing,
            rows: rows
                .map(|(case, predictions)| row(case, predictions))
                .collect(),
            confusion: (task == Task::MultiClass).then(|| mixed.confusion(classes)),
        }
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
        let header: Vec<&str> = [self.split.as_str(), "posts"]
            .into_iter()
            .chain(names.iter().copied())
            .collect();
        let mut table = Table::new(&header);
        for row in &self.rows {
            let figures = names.iter().map(|name| match row.figures.get(*name) {
                Some(figure) => format!("{:.1} %", 100.0 * figure),
                None => "-".into(),
            });
            table.row(
                [row.case.replace('_', " "), row.posts.to_string()]
                    .into_iter()
                    .chain(figures),
            );
        }
        table
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
        let by_case = [
            (Case::Complete, mixed.of_case(Case::Complete)),
            (Case::ImageMissing, Predictions::default()),
        ];
        let evaluation = Evaluation::new(
            "val",
            "both 0.7".into(),
            &by_case,
            &mixed,
            Task::MultiClass,
            3,
        );
        assert_eq!(evaluation.figure("complete", "accuracy"), Some(1.0));
        assert_eq!(evaluation.figure("mixed", "accuracy"), Some(0.5));
        assert_eq!(evaluation.figure("image_missing", "accuracy"), None);
        let table = evaluation.table().to_string();
        assert!(table.contains("mixed         2    50.0 %"), "{table}");
    }
}
