//! Owns the paper's tables with our figures beside its own.

use std::fmt::Write;

use anyhow::Result;

use super::cell::{Cell, Setting};
use super::known::Experiment;
use super::plan::{DataSet, Plan};
use super::published::Published;
use super::record::Records;

/// Mean and standard deviation (of the sample) of some figures, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; 0 of one figure.
    pub sd: f64,
    /// How many.
    pub count: usize,
}

impl Summary {
    /// Of these figures; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (squares / (count.max(2) - 1) as f64).sqrt();
        Some(Self { mean, sd, count })
    }

    /// `54.3 ± 1.2` in percent; without the deviation if there is one figure only.
    pub fn percent(&self) -> String {
        match self.count {
            1 => format!("{:.1}", 100.0 * self.mean),
            _ => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * self.sd),
        }
    }
}

/// One place of a table.
struct Place {
    data: String,
    setting: Setting,
    prompt: String,
    head: String,
    ours: Option<Summary>,
    paper: Option<f64>,
}

/// A table of the paper with ours beside it.
pub struct Comparison<'a> {
    plan: &'a Plan,
    places: Vec<Place>,
}

impl<'a> Comparison<'a> {
    /// The table of an experiment, from the finished cells.
    ///
    /// # Errors
    /// If the paper's numbers are damaged.
    pub fn new(plan: &'a Plan, records: &Records, experiment: Experiment) -> Result<Self> {
        let published = Published::of(experiment)?;
        let mut places = Vec::new();
        for data in &plan.data {
            for setting in super::cell::SETTINGS {
                for prompt in &plan.prompts {
                    for head in &plan.heads {
                        let like = |cell: &Cell| {
                            cell.data == data.name
                                && cell.setting == setting
                                && cell.prompt == prompt.name
                                && cell.head == head.name
                        };
                        let values: Vec<f64> = records
                            .of(like)
                            .filter_map(|record| record.figures.get(&data.metric).copied())
                            .collect();
                        let paper = published.value(&Cell {
                            data: data.name.clone(),
                            prompt: prompt.name.clone(),
                            head: head.name.clone(),
                            setting,
                            seed: 0,
                        });
                        places.push(Place {
                            data: data.name.clone(),
                            setting,
                            prompt: prompt.name.clone(),
                            head: head.name.clone(),
                            ours: Summary::of(&values),
                            paper,
                        });
                    }
                }
            }
        }
        Ok(Self { plan, places })
    }

    /// As Markdown, a table for each data set: ours (mean and deviation over seeds), the paper's, the difference.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for data in &self.plan.data {
            // Writing to a string cannot fail.
            let _ = self.one(data, &mut text);
        }
        text
    }

    fn one(&self, data: &DataSet, text: &mut String) -> std::fmt::Result {
        writeln!(text, "## {} ({})\n", data.title, data.metric)?;
        writeln!(
            text,
            "Each place: ours, mean ± standard deviation over seeds / the paper's / the difference. Percent.\n"
        )?;
        let columns: Vec<(&str, &str, String)> = self
            .plan
            .prompts
            .iter()
            .flat_map(|prompt| {
                self.plan.heads.iter().map(move |head| {
                    let title = format!("{} {}", prompt.title, head.title);
                    (prompt.name.as_str(), head.name.as_str(), title)
                })
            })
            .collect();
        let titles: Vec<&str> = columns.iter().map(|(_, _, title)| title.as_str()).collect();
        writeln!(text, "| missing | image | text | {} |", titles.join(" | "))?;
        writeln!(text, "|---|---|---|{}", "---|".repeat(columns.len()))?;
        for setting in super::cell::SETTINGS {
            let [image, words] = setting.kept();
            write!(text, "| {} % | {image} % | {words} % |", setting.rate)?;
            for (prompt, head, _) in &columns {
                let place = self.places.iter().find(|place| {
                    place.data == data.name
                        && place.setting == setting
                        && place.prompt == *prompt
                        && place.head == *head
                });
                let cell = place.map_or_else(|| "-".into(), Place::words);
                write!(text, " {cell} |")?;
            }
            writeln!(text)?;
        }
        writeln!(text)
    }

    /// As CSV, a line a place.
    ///
    /// # Errors
    /// If it cannot be put together.
    pub fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record([
            "data",
            "missing",
            "rate",
            "prompt",
            "head",
            "seeds",
            "mean",
            "sd",
            "paper",
            "difference",
        ])?;
        for place in &self.places {
            let percent =
                |value: Option<f64>| value.map_or_else(String::new, |x| format!("{x:.4}"));
            let mean = place.ours.map(|ours| 100.0 * ours.mean);
            csv.write_record([
                place.data.clone(),
                place.setting.kind_name().into(),
                place.setting.rate.to_string(),
                place.prompt.clone(),
                place.head.clone(),
                place.ours.map_or(0, |ours| ours.count).to_string(),
                percent(mean),
                percent(place.ours.map(|ours| 100.0 * ours.sd)),
                percent(place.paper),
                percent(mean.zip(place.paper).map(|(ours, paper)| ours - paper)),
            ])?;
        }
        Ok(String::from_utf8(csv.into_inner()?)?)
    }
}

impl Place {
    fn words(&self) -> String {
        let ours = self.ours.map_or_else(|| "-".into(), |ours| ours.percent());
        match (self.ours, self.paper) {
            (Some(summary), Some(paper)) => {
                format!("{ours} / {paper:.1} / {:+.1}", 100.0 * summary.mean - paper)
            }
            (None, Some(paper)) => format!("- / {paper:.1} / -"),
            _ => ours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation() {
        let summary = Summary::of(&[0.5, 0.6, 0.7]).unwrap();
        assert_eq!(summary.percent(), "60.0 ± 10.0");
        assert_eq!(Summary::of(&[0.5]).unwrap().percent(), "50.0");
        assert_eq!(Summary::of(&[]), None);
    }
}
