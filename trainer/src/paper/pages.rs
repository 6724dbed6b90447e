//! Owns putting results on disk: which file each table, figure and page goes into.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;

use super::cell::Cell;
use super::known::Experiment;
use super::plan::Plan;
use super::record::Records;
use super::{charts, efficiency, study, tables};
use crate::engine::atomic;

/// What results are made of.
pub struct Sources<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The cells that were asked for.
    pub cells: &'a [Cell],
    /// The folder of cells, and of what is made of them.
    pub out: &'a Path,
    /// Lists of figures of cells that were finished elsewhere.
    pub lists: Vec<&'a Path>,
}

impl Sources<'_> {
    fn records(&self) -> Result<Records> {
        Records::gather(self.plan, self.cells, &[self.out], &self.lists)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    atomic::write(path, text.as_bytes())?;
    println!("{}", path.display());
    Ok(())
}

/// One of the paper's tables, as Markdown and CSV.
///
/// # Errors
/// If a cell is damaged or a file cannot be written.
pub fn table(sources: &Sources<'_>, experiment: Experiment) -> Result<()> {
    let records = sources.records()?;
    let table = tables::Comparison::new(sources.plan, &records, experiment)?;
    let name = match experiment {
        Experiment::Table2 => "table2",
        Experiment::Table3 => "table3",
        _ => "table1",
    };
    write(&sources.out.join(format!("{name}.md")), &table.markdown())?;
    write(&sources.out.join(format!("{name}.csv")), &table.csv()?)?;
    write(&sources.out.join("cells.csv"), &records.to_csv()?)
}

/// Figure 6: lines over the rates of the test posts, one drawing for each data set and kind.
///
/// # Errors
/// If a cell is damaged or a file cannot be written.
pub fn rates(sources: &Sources<'_>) -> Result<()> {
    for drawing in charts::rates(sources.plan, sources.cells, sources.out)? {
        drawing.write(sources.out, &write)?;
    }
    Ok(())
}

/// Figure 7: boxes over ten simulations, one drawing for each data set.
///
/// # Errors
/// If a cell is damaged or a file cannot be written.
pub fn simulations(sources: &Sources<'_>) -> Result<()> {
    for drawing in charts::simulations(sources.plan, sources.cells, sources.out)? {
        drawing.write(sources.out, &write)?;
    }
    Ok(())
}

/// Figure 5: seconds of a step, measured now.
///
/// # Errors
/// If a model cannot be made or a file cannot be written.
pub fn efficiency(plan: &Plan, overrides: &[String], out: &Path, device: &Device) -> Result<()> {
    for drawing in efficiency::measure(plan, overrides, device)? {
        drawing.write(out, &write)?;
    }
    Ok(())
}

/// The page of a study, its drawings and the list of its figures.
///
/// # Errors
/// If a cell is damaged or a file cannot be written.
pub fn study(sources: &Sources<'_>, page: Option<&Path>) -> Result<()> {
    let records = sources.records()?;
    let page = match page {
        Some(page) => page.to_owned(),
        None => sources.out.join("results.md"),
    };
    let folder = page.with_extension("");
    write(&folder.join("cells.csv"), &records.to_csv()?)?;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("results");
    let study = study::Study::new(sources.plan, &records);
    for drawing in study.drawings()? {
        drawing.write(&folder, &write)?;
    }
    write(&page, &study.markdown(name)?)
}
