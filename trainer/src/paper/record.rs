//! Owns the figures of finished cells, as tables are made of them: from outcomes, or from a CSV file kept of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use shared::config::Task;

use super::cell::{Cell, Setting};
use super::outcome::Outcome;
use super::plan::Plan;
use crate::data::split::Split;
use crate::metrics::threshold;
use crate::report::Values;

/// The columns before the figures.
const KEYS: [&str; 6] = ["data", "prompt", "head", "missing", "rate", "seed"];
/// F1 macro at the threshold that did best on the validation posts.
pub const TUNED: &str = "f1_macro_tuned";
/// That threshold, of the logits.
pub const THRESHOLD: &str = "threshold";

/// A finished cell's figures on the test posts, incomplete as in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The cell.
    pub cell: Cell,
    /// Its figures.
    pub figures: Values,
}

/// Figures of many cells, each once, in the plan's order.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The cells.
    pub all: Vec<Record>,
}

impl Record {
    /// The figures of an outcome.
    ///
    /// # Errors
    /// If the missing table cannot be drawn.
    pub fn of(cell: &Cell, outcome: &Outcome) -> Result<Self> {
        let (task, classes) = (outcome.header.task, outcome.header.classes.len());
        let test = outcome.simulated(Split::Test, cell.setting, cell.seed)?;
        let mut figures = test.figures(task, classes);
        if task == Task::MultiLabel {
            let val = outcome.simulated(Split::Val, cell.setting, cell.seed)?;
            let best = threshold::tuned(&val, classes);
            figures.insert(TUNED.into(), test.f1_macro_at(best, classes));
            figures.insert(THRESHOLD.into(), f64::from(best));
        }
        Ok(Self {
            cell: cell.clone(),
            figures,
        })
    }
}

impl Records {
    /// The records of the cells of a plan that are finished in one of these folders or listed in one of these CSV files;
    /// folders first.
    ///
    /// # Errors
    /// If a file is damaged.
    pub fn gather(plan: &Plan, cells: &[Cell], folders: &[&Path], lists: &[&Path]) -> Result<Self> {
        let mut found: BTreeMap<String, Record> = BTreeMap::new();
        for list in lists {
            for record in Self::read(list)?.all {
                found.insert(record.cell.name(), record);
            }
        }
        for cell in cells {
            let paths = folders
                .iter()
                .map(|folder| super::runner::Runner::outcome(folder, cell));
            for path in paths.filter(|path| path.exists()) {
                let record = Record::of(cell, &Outcome::load(&path)?)?;
                found.insert(cell.name(), record);
            }
        }
        let order = |cell: &Cell| {
            let place = |all: Vec<&String>, name: &String| {
                all.iter().position(|own| *own == name).unwrap_or(all.len())
            };
            (
                place(plan.data.iter().map(|one| &one.name).collect(), &cell.data),
                place(
                    plan.prompts.iter().map(|one| &one.name).collect(),
                    &cell.prompt,
                ),
                place(plan.heads.iter().map(|one| &one.name).collect(), &cell.head),
                cell.setting.place(),
                cell.seed,
                cell.name(),
            )
        };
        let mut all: Vec<Record> = found.into_values().collect();
        all.sort_by_key(|record| order(&record.cell));
        Ok(Self { all })
    }

    /// The records that fit.
    pub fn of<'a>(&'a self, fits: impl Fn(&Cell) -> bool + 'a) -> impl Iterator<Item = &'a Record> {
        self.all.iter().filter(move |record| fits(&record.cell))
    }

    /// A figure of one cell.
    pub fn figure(&self, cell: &Cell, name: &str) -> Option<f64> {
        let found = self.all.iter().find(|record| record.cell == *cell)?;
        found.figures.get(name).copied()
    }

    /// As CSV: a line a cell.
    ///
    /// # Errors
    /// If it cannot be put together.
    pub fn to_csv(&self) -> Result<String> {
        let names: BTreeSet<&String> = self
            .all
            .iter()
            .flat_map(|record| record.figures.keys())
            .collect();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let keys = KEYS.iter().map(|key| (*key).to_owned());
        csv.write_record(keys.chain(names.iter().map(|name| (*name).clone())))?;
        for Record { cell, figures } in &self.all {
            let keys = [
                cell.data.clone(),
                cell.prompt.clone(),
                cell.head.clone(),
                cell.setting.kind_name().to_owned(),
                cell.setting.rate.to_string(),
                cell.seed.to_string(),
            ];
            let values = names.iter().map(|name| match figures.get(*name) {
                Some(value) => format!("{value:.6}"),
                None => String::new(),
            });
            csv.write_record(keys.into_iter().chain(values))?;
        }
        Ok(String::from_utf8(csv.into_inner()?)?)
    }

    /// Reads what [`Records::to_csv`] wrote.
    ///
    /// # Errors
    /// If a line is damaged; the message names it.
    pub fn read(path: &Path) -> Result<Self> {
        let mut csv = csv::Reader::from_path(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let names: Vec<String> = csv.headers()?.iter().map(str::to_owned).collect();
        let mut all = Vec::new();
        for (line, row) in csv.records().enumerate() {
            let at = || format!("{} line {}", path.display(), line + 2);
            let row = row.with_context(at)?;
            let fields: BTreeMap<&str, &str> =
                names.iter().map(String::as_str).zip(row.iter()).collect();
            all.push(parse(&fields).with_context(at)?);
        }
        Ok(Self { all })
    }
}

fn parse(fields: &BTreeMap<&str, &str>) -> Result<Record> {
    let field = |name: &str| {
        fields
            .get(name)
            .copied()
            .with_context(|| format!("the column {name:?} is missing"))
    };
    let setting: Setting = format!("{}-{}", field("missing")?, field("rate")?).parse()?;
    let mut figures = Values::new();
    for (name, value) in fields {
        if !KEYS.contains(name) && !value.is_empty() {
            let number = value.parse().with_context(|| {
                format!("the column {name:?} has {value:?}, which is no number")
            })?;
            figures.insert((*name).to_owned(), number);
        }
    }
    Ok(Record {
        cell: Cell {
            data: field("data")?.to_owned(),
            prompt: field("prompt")?.to_owned(),
            head: field("head")?.to_owned(),
            setting,
            seed: field("seed")?.parse().context("the column \"seed\"")?,
        },
        figures,
    })
}
