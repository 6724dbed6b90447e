//! Owns the plan of a grid: data sets, prompt and head variants, settings and seeds, and the order of the cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cell::{Cell, SETTINGS, Setting};
use crate::settings::Settings;

/// A prompt method or a head under a name, as what it sets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name in files and on the command line.
    pub name: String,
    /// Its name in tables.
    pub title: String,
    /// `key=value` each.
    pub overrides: Vec<String>,
}

/// A data set of the grid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Its name in files and on the command line.
    pub name: String,
    /// Its name in tables.
    pub title: String,
    /// A TOML file with the settings to start from, if there is one.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// What is set for all its cells.
    #[serde(default)]
    pub overrides: Vec<String>,
    /// What is set for cells with a certain prompt or head, by the variant's name.
    #[serde(default)]
    pub variants: BTreeMap<String, Vec<String>>,
    /// The figure the paper reports for it.
    pub metric: String,
    /// Which licence or rule keeps it out of the project, if one does.
    #[serde(default)]
    pub note: Option<String>,
}

/// Everything a grid is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Data sets, in the order of tables.
    pub data: Vec<DataSet>,
    /// Prompt methods, in the order of tables.
    pub prompts: Vec<Variant>,
    /// Heads, in the order of tables; the first one is what the others are compared with.
    pub heads: Vec<Variant>,
    /// Parts of the grid, in the order in which they are run; the whole grid of everything above if none is given.
    #[serde(default)]
    pub parts: Vec<Part>,
}

/// A part of the grid: the product of what it names. An empty list means all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// Data sets.
    pub data: Vec<String>,
    /// Prompts.
    pub prompts: Vec<String>,
    /// Heads.
    pub heads: Vec<String>,
    /// Settings, as `both-70`.
    pub settings: Vec<String>,
    /// Seeds; 0, 1 and 2 if none is given.
    pub seeds: Vec<u64>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// If the file cannot be read or is no plan, or a part names what the plan does not have.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the plan {}", path.display()))?;
        let plan: Self =
            toml::from_str(&text).with_context(|| format!("{} is no plan", path.display()))?;
        plan.cells(&[])
            .with_context(|| path.display().to_string())?;
        Ok(plan)
    }

    /// The data set of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn data_set(&self, name: &str) -> Result<&DataSet> {
        let found = self.data.iter().find(|set| set.name == name);
        found.with_context(|| unknown("data set", name, self.data.iter().map(|set| &set.name)))
    }

    /// The cells in the order in which they are run: part by part, and within a part seed by seed and setting by setting,
    /// so that a grid stopped early is even. A cell of two parts is run once. Of `seeds`, if given, replaces every
    /// part's own.
    ///
    /// # Errors
    /// If a part names what the plan does not have.
    pub fn cells(&self, seeds: &[u64]) -> Result<Vec<Cell>> {
        let whole = [Part::default()];
        let parts = if self.parts.is_empty() {
            &whole[..]
        } else {
            &self.parts
        };
        let mut cells: Vec<Cell> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for part in parts {
            let data = chosen(
                "data set",
                &part.data,
                self.data.iter().map(|set| &set.name),
            )?;
            let prompts = chosen(
                "prompt",
                &part.prompts,
                self.prompts.iter().map(|one| &one.name),
            )?;
            let heads = chosen("head", &part.heads, self.heads.iter().map(|one| &one.name))?;
            let settings: Vec<Setting> = match part.settings.as_slice() {
                [] => SETTINGS.to_vec(),
                named => named
                    .iter()
                    .map(|name| name.parse())
                    .collect::<Result<_>>()?,
            };
            let seeds = match (seeds, part.seeds.as_slice()) {
                ([], []) => &[0, 1, 2],
                ([], own) => own,
                (given, _) => given,
            };
            for &seed in seeds {
                for &setting in &settings {
                    for data in &data {
                        for prompt in &prompts {
                            for head in &heads {
                                let cell = Cell {
                                    data: data.clone(),
                                    prompt: prompt.clone(),
                                    head: head.clone(),
                                    setting,
                                    seed,
                                };
                                if seen.insert(cell.name()) {
                                    cells.push(cell);
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(cells)
    }

    /// The settings of a cell: those of its data set, then the prompt's, the head's, the data set's for the head and for
    /// the prompt, the cell's own, and `last`.
    ///
    /// # Errors
    /// If they contradict each other, or the cell is none of this plan.
    pub fn settings(&self, cell: &Cell, last: &[String]) -> Result<Settings> {
        let data = self.data_set(&cell.data)?;
        let variant = |variants: &[Variant], name: &str| -> Result<Vec<String>> {
            let found = variants.iter().find(|one| one.name == name);
            let found = found
                .with_context(|| unknown("variant", name, variants.iter().map(|one| &one.name)))?;
            Ok(found.overrides.clone())
        };
        let mut overrides = data.overrides.clone();
        overrides.extend(variant(&self.prompts, &cell.prompt)?);
        overrides.extend(variant(&self.heads, &cell.head)?);
        for name in [&cell.head, &cell.prompt] {
            overrides.extend(data.variants.get(name).into_iter().flatten().cloned());
        }
        overrides.extend(cell.overrides());
        overrides.extend(last.iter().cloned());
        Settings::resolve(data.config.as_deref(), &overrides)
            .with_context(|| format!("the settings of cell {}", cell.name()))
    }
}

/// The names of a list, or all there are if it is empty.
fn chosen<'a>(
    what: &str,
    wanted: &[String],
    all: impl Iterator<Item = &'a String> + Clone,
) -> Result<Vec<String>> {
    for name in wanted {
        if !all.clone().any(|own| own == name) {
            bail!("{}", unknown(what, name, all));
        }
    }
    Ok(if wanted.is_empty() {
        all.cloned().collect()
    } else {
        wanted.to_vec()
    })
}

fn unknown<'a>(what: &str, name: &str, all: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<&str> = all.map(String::as_str).collect();
    format!("the plan has no {what} {name:?}; it has {}", all.join(", "))
}
