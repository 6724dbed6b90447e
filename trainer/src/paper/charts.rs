//! Owns the paper's figures 6 and 7, made of finished cells: other missing rates, and other simulations, of the test posts.

use std::path::Path;

use anyhow::{Result, bail};

use super::cell::{Cell, Setting};
use super::outcome::Outcome;
use super::plan::{DataSet, Plan};
use super::runner::Runner;
use super::tables::Summary;
use crate::data::split::Split;
use crate::report::plot::{Boxes, Lines};

/// Rates of incomplete test posts, percent (paper, figure 6).
const RATES: [u32; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];
/// Simulations of the test posts (paper, figure 7).
const SIMULATIONS: u64 = 10;

/// A drawing and its numbers.
pub struct Drawing {
    /// The file's name without ending.
    pub name: String,
    /// The drawing.
    pub svg: String,
    /// Its numbers.
    pub csv: String,
}

impl Drawing {
    /// Writes both files.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, write: &dyn Fn(&Path, &str) -> Result<()>) -> Result<()> {
        write(&folder.join(format!("{}.svg", self.name)), &self.svg)?;
        write(&folder.join(format!("{}.csv", self.name)), &self.csv)
    }
}

/// The finished cells of one data set, prompt and head in one setting, one for each seed.
fn outcomes(
    cells: &[Cell],
    out: &Path,
    like: &dyn Fn(&Cell) -> bool,
) -> Result<Vec<(Cell, Outcome)>> {
    let wanted = cells.iter().filter(|cell| like(cell));
    let finished = wanted
        .map(|cell| (cell, Runner::outcome(out, cell)))
        .filter(|(_, path)| path.exists());
    finished
        .map(|(cell, path)| Ok((cell.clone(), Outcome::load(&path)?)))
        .collect()
}

/// The paper's metric of an outcome's test posts under a table of their own.
fn value(data: &DataSet, outcome: &Outcome, setting: Setting, seed: u64) -> Result<Option<f64>> {
    let (task, classes) = (outcome.header.task, outcome.header.classes.len());
    let posts = outcome.simulated(Split::Test, setting, seed)?;
    Ok(posts.figure(&data.metric, task, classes))
}

/// The settings of the cells, each once, in their order.
fn settings(cells: &[Cell]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for cell in cells {
        if !settings.contains(&cell.setting) {
            settings.push(cell.setting);
        }
    }
    settings
}

/// Figure 6: one drawing for each data set, prompt and setting of training; a line for each head.
///
/// # Errors
/// If no cell is finished, or one is damaged.
pub fn rates(plan: &Plan, cells: &[Cell], out: &Path) -> Result<Vec<Drawing>> {
    let mut drawings = Vec::new();
    for data in &plan.data {
        for prompt in &plan.prompts {
            for trained in settings(cells) {
                let mut csv = String::from("head,rate,mean,sd,seeds\n");
                let mut series = Vec::new();
                for head in &plan.heads {
                    let like = |cell: &Cell| {
                        cell.data == data.name
                            && cell.prompt == prompt.name
                            && cell.head == head.name
                            && cell.setting == trained
                    };
                    let finished = outcomes(cells, out, &like)?;
                    let mut points = Vec::new();
                    for rate in RATES {
                        let tested = Setting { rate, ..trained };
                        let mut values = Vec::new();
                        for (cell, outcome) in &finished {
                            values.extend(value(data, outcome, tested, cell.seed)?);
                        }
                        if let Some(summary) = Summary::of(&values) {
                            points.push((f64::from(rate), 100.0 * summary.mean));
                            csv += &format!(
                                "{},{rate},{:.4},{:.4},{}\n",
                                head.name,
                                100.0 * summary.mean,
                                100.0 * summary.sd,
                                summary.count
                            );
                        }
                    }
                    if !points.is_empty() {
                        series.push((head.title.clone(), points));
                    }
                }
                if series.is_empty() {
                    continue;
                }
                let lines = Lines {
                    title: format!(
                        "{}, {}, trained with {trained} % missing",
                        data.title, prompt.title
                    ),
                    x_label: "incomplete test posts, %".into(),
                    y_label: format!("{}, %", data.metric),
                    series,
                };
                drawings.push(Drawing {
                    name: format!("fig6-{}-{}-{}", data.name, prompt.name, trained.kind_name()),
                    svg: lines.svg()?,
                    csv,
                });
            }
        }
    }
    some(drawings)
}

/// Figure 7: one drawing for each data set and prompt; for each setting a group with a box for each head. The cells of the
/// first seed are measured under ten tables of the test posts.
///
/// # Errors
/// If no cell is finished, or one is damaged.
pub fn simulations(plan: &Plan, cells: &[Cell], out: &Path) -> Result<Vec<Drawing>> {
    let mut drawings = Vec::new();
    for data in &plan.data {
        for prompt in &plan.prompts {
            let mut csv = String::from("head,missing,rate,simulation,value\n");
            let groups = settings(cells);
            let mut series = Vec::new();
            for head in &plan.heads {
                let mut boxes = Vec::new();
                for &setting in &groups {
                    let like = |cell: &Cell| {
                        cell.data == data.name
                            && cell.prompt == prompt.name
                            && cell.head == head.name
                            && cell.setting == setting
                    };
                    let mut values = Vec::new();
                    if let Some((_, outcome)) = outcomes(cells, out, &like)?.first() {
                        for seed in 0..SIMULATIONS {
                            let found = value(data, outcome, setting, seed)?;
                            values.extend(found.map(|value| 100.0 * value));
                        }
                    }
                    for (simulation, value) in values.iter().enumerate() {
                        csv += &format!(
                            "{},{},{},{simulation},{value:.4}\n",
                            head.name,
                            setting.kind_name(),
                            setting.rate
                        );
                    }
                    boxes.push(values);
                }
                if boxes.iter().any(|values| !values.is_empty()) {
                    series.push((head.title.clone(), boxes));
                }
            }
            if series.is_empty() {
                continue;
            }
            let drawn = Boxes {
                title: format!(
                    "{}, {}: ten simulations of the test posts",
                    data.title, prompt.title
                ),
                y_label: format!("{}, %", data.metric),
                groups: groups
                    .iter()
                    .map(|setting| format!("{setting} %"))
                    .collect(),
                series,
            };
            drawings.push(Drawing {
                name: format!("fig7-{}-{}", data.name, prompt.name),
                svg: drawn.svg()?,
                csv,
            });
        }
    }
    some(drawings)
}

fn some(drawings: Vec<Drawing>) -> Result<Vec<Drawing>> {
    if drawings.is_empty() {
        bail!("no cell of this figure is finished yet");
    }
    Ok(drawings)
}
