//! Owns what a study's page says of one data set: every figure of every prompt and head, compared with the first head.

use std::fmt::{Result, Write};

use super::super::plan::{DataSet, Plan, Variant};
use super::super::record::{Records, TUNED};
use super::super::tables::Summary;
use super::grid::{self, Series, Values};
use crate::metrics::compare::Paired;

/// Figures that no threshold decides on, and the one whose threshold is chosen on validation posts.
const BESIDE: [&str; 3] = ["mean_average_precision", "auroc", TUNED];
/// p values below this are marked.
const BEYOND_CHANCE: f64 = 0.05;

/// One data set of a study.
pub(super) struct Section<'a> {
    pub(super) plan: &'a Plan,
    pub(super) records: &'a Records,
    pub(super) data: &'a DataSet,
    /// How many of the plan's heads are compared with each other; the others are ablations.
    pub(super) compared: usize,
}

impl<'a> Section<'a> {
    /// The figures of the page: the paper's metric first, then those beside it that the cells have.
    pub(super) fn figures(&self) -> Vec<&'a str> {
        let of_data: Vec<_> = self
            .records
            .of(|cell| cell.data == self.data.name)
            .collect();
        let beside = BESIDE.into_iter().filter(|name| {
            *name != self.data.metric
                && of_data
                    .iter()
                    .any(|record| record.figures.contains_key(*name))
        });
        std::iter::once(self.data.metric.as_str())
            .chain(beside)
            .collect()
    }

    /// A figure by setting and seed.
    pub(super) fn values(&self, prompt: &Variant, head: &Variant, figure: &str) -> Values {
        let series = Series {
            data: &self.data.name,
            prompt: &prompt.name,
            head: &head.name,
        };
        grid::values(self.records, series, figure)
    }

    /// A table for each figure: mean and spread of each prompt and head, and its comparison with the first head.
    pub(super) fn compared(&self, text: &mut String) -> Result {
        let Some(first) = self.plan.heads.first() else {
            return Ok(());
        };
        for figure in self.figures() {
            let what = if figure == self.data.metric {
                " (the paper's metric)"
            } else {
                ""
            };
            writeln!(text, "### {figure}{what}\n")?;
            writeln!(
                text,
                "| prompt | head | cells | mean ± sd of seeds | against {} | won / tied / lost | p (t) | p (Wilcoxon) |",
                first.title
            )?;
            writeln!(text, "|---|---|---|---|---|---|---|---|")?;
            for prompt in &self.plan.prompts {
                let base = self.values(prompt, first, figure);
                for head in &self.plan.heads[..self.compared] {
                    let values = self.values(prompt, head, figure);
                    let Some(summary) = grid::summary(&values) else {
                        continue;
                    };
                    write!(
                        text,
                        "| {} | {} | {} | {} |",
                        prompt.title,
                        head.title,
                        summary.count,
                        spread(&summary)
                    )?;
                    if head.name == first.name {
                        writeln!(text, " | | | |")?;
                    } else {
                        writeln!(text, " {} |", contrast(&grid::paired(&values, &base)))?;
                    }
                }
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// The mean gain of a head over another in points, `+1.25 *` if both tests see it.
    pub(super) fn gain(
        &self,
        prompt: &Variant,
        ours: &Variant,
        theirs: &Variant,
        figure: &str,
    ) -> String {
        let [ours, theirs] = [ours, theirs].map(|head| self.values(prompt, head, figure));
        let found = grid::paired(&ours, &theirs);
        if found.pairs == 0 {
            return "-".into();
        }
        let sure = |p: Option<f64>| p.is_some_and(|p| p < BEYOND_CHANCE);
        let mark = if sure(found.t_test) && sure(found.wilcoxon) {
            " *"
        } else {
            ""
        };
        format!("{:+.2}{mark}", found.mean)
    }

    /// The ablations' figures, and their differences from each head that is compared.
    pub(super) fn ablations(&self, text: &mut String) -> Result {
        let (compared, ablations) = self.plan.heads.split_at(self.compared);
        let mut rows = String::new();
        for figure in self.figures() {
            for prompt in &self.plan.prompts {
                for head in ablations {
                    let values = self.values(prompt, head, figure);
                    let Some(summary) = grid::summary(&values) else {
                        continue;
                    };
                    let gains = compared
                        .iter()
                        .map(|other| self.gain(prompt, head, other, figure));
                    writeln!(
                        rows,
                        "| {figure} | {} | {} | {} | {} | {} |",
                        prompt.title,
                        head.title,
                        summary.count,
                        spread(&summary),
                        gains.collect::<Vec<_>>().join(" | ")
                    )?;
                }
            }
        }
        if !rows.is_empty() {
            let titles: Vec<String> = compared
                .iter()
                .map(|head| format!("against {}", head.title))
                .collect();
            writeln!(text, "### {}\n", self.data.title)?;
            writeln!(
                text,
                "| figure | prompt | head | cells | mean ± sd of seeds | {} |",
                titles.join(" | ")
            )?;
            writeln!(text, "|---|---|---|---|---|{}", "---|".repeat(titles.len()))?;
            writeln!(text, "{rows}")?;
        }
        Ok(())
    }

    /// The paper's metric setting by setting: a table for each prompt, a column for each head.
    pub(super) fn settings(&self, text: &mut String) -> Result {
        for prompt in &self.plan.prompts {
            let columns: Vec<(&Variant, _)> = self
                .plan
                .heads
                .iter()
                .map(|head| (head, self.values(prompt, head, &self.data.metric)))
                .filter(|(_, values)| !values.is_empty())
                .map(|(head, values)| (head, grid::by_setting(&values)))
                .collect();
            if columns.is_empty() {
                continue;
            }
            let mut rows: Vec<_> = columns.iter().flat_map(|(_, by)| by.keys()).collect();
            rows.sort();
            rows.dedup();
            let titles: Vec<&str> = columns
                .iter()
                .map(|(head, _)| head.title.as_str())
                .collect();
            writeln!(text, "### {}: {}\n", prompt.title, self.data.metric)?;
            writeln!(text, "| missing | {} |", titles.join(" | "))?;
            writeln!(text, "|---|{}", "---|".repeat(columns.len()))?;
            for row in rows {
                write!(text, "| {} % |", row.1.replace('-', " "))?;
                for (_, by) in &columns {
                    let own = by.get(row).and_then(|values| Summary::of(values));
                    write!(
                        text,
                        " {} |",
                        own.as_ref().map_or_else(|| "-".into(), spread)
                    )?;
                }
                writeln!(text)?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// Every two of the compared heads without the first, which has tables of its own, for the paper's metric and the first one beside it.
    pub(super) fn pairs(&self, text: &mut String) -> Result {
        for figure in self.figures().into_iter().take(2) {
            let mut rows = String::new();
            for prompt in &self.plan.prompts {
                let heads = &self.plan.heads[..self.compared];
                for (place, theirs) in heads.iter().enumerate().skip(1) {
                    for ours in heads.iter().skip(place + 1) {
                        let [a, b] = [ours, theirs].map(|head| self.values(prompt, head, figure));
                        let found = grid::paired(&a, &b);
                        if found.pairs > 0 {
                            let names =
                                format!("{} | {} | {}", prompt.title, ours.title, theirs.title);
                            writeln!(rows, "| {names} | {} | {} |", found.pairs, contrast(&found))?;
                        }
                    }
                }
            }
            if !rows.is_empty() {
                writeln!(text, "### {}: {figure}\n", self.data.title)?;
                writeln!(
                    text,
                    "| prompt | head | against | pairs | difference | won / tied / lost | p (t) | p (Wilcoxon) |"
                )?;
                writeln!(text, "|---|---|---|---|---|---|---|---|\n{rows}")?;
            }
        }
        Ok(())
    }
}

/// `54.32 ± 1.20`; without the deviation if nothing was repeated.
fn spread(summary: &Summary) -> String {
    if summary.count == 1 || summary.sd == 0.0 {
        format!("{:.2}", summary.mean)
    } else {
        format!("{:.2} ± {:.2}", summary.mean, summary.sd)
    }
}

/// Four columns of a table: the mean difference, the settings, both p.
pub(super) fn contrast(found: &Paired) -> String {
    if found.pairs == 0 {
        return "- | - | - | -".into();
    }
    let Paired {
        mean,
        won,
        tied,
        lost,
        ..
    } = found;
    let [t_test, wilcoxon] = [found.t_test, found.wilcoxon].map(chance);
    format!("{mean:+.2} | {won} / {tied} / {lost} | {t_test} | {wilcoxon}")
}

/// A p value.
fn chance(p: Option<f64>) -> String {
    match p {
        None => "-".into(),
        Some(p) if p < 0.001 => "< 0.001".into(),
        Some(p) => format!("{p:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::cell::{Cell, SETTINGS};
    use super::super::super::known::{self, Experiment, Preset};
    use super::super::super::record::Record;
    use super::*;
    use crate::report::Values as Figures;

    /// What the second head has over the first in each setting, in points.
    fn gain(points: impl Fn(usize) -> f64) -> String {
        let data = [("food101".to_owned(), Path::new("data"))];
        let plan =
            known::plan(Experiment::Table1, &data, Path::new("clip"), Preset::Small).unwrap();
        let mut records = Records::default();
        for (row, setting) in SETTINGS.into_iter().enumerate() {
            for (head, value) in [("linear", 0.5), ("dept", 0.5 + points(row) / 100.0)] {
                let cell = Cell {
                    data: "food101".into(),
                    prompt: "dcp".into(),
                    head: head.into(),
                    setting,
                    seed: 0,
                };
                let figures = Figures::from([("accuracy".to_owned(), value)]);
                records.all.push(Record { cell, figures });
            }
        }
        let section = Section {
            plan: &plan,
            records: &records,
            data: &plan.data[0],
            compared: 3,
        };
        section.gain(&plan.prompts[2], &plan.heads[1], &plan.heads[0], "accuracy")
    }

    #[test]
    fn only_what_both_tests_see_is_marked() {
        assert_eq!(gain(|row| row as f64 + 1.0), "+5.00 *");
        assert_eq!(gain(|row| row as f64 - 4.0), "+0.00");
        // One setting carries it all: the ranks hardly see it, and neither does the mean's error.
        assert_eq!(gain(|row| if row == 0 { -90.0 } else { 0.0 }), "-10.00");
    }
}
