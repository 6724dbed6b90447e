//! Owns the page of a study: what was run, what was left out, and what each head is worth. Everything on it comes from
//! finished cells and the plan; nothing is typed.

mod grid;
mod section;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;

use super::cell::{Cell, SETTINGS};
use super::charts::Drawing;
use super::plan::{DataSet, Plan, Variant};
use super::record::Records;
use crate::report::plot::Bars;
use grid::Series;
use section::Section;

/// Heads that are compared with each other: the paper's three and one more. A plan lists them first; those after them are
/// ablations, and have a section of their own.
const COMPARED: usize = 4;

/// A study's results.
pub struct Study<'a> {
    plan: &'a Plan,
    records: &'a Records,
}

impl<'a> Study<'a> {
    /// From the finished cells of a plan.
    pub fn new(plan: &'a Plan, records: &'a Records) -> Self {
        Self { plan, records }
    }

    /// The heads that are compared, and the ablations.
    fn heads(&self) -> (&'a [Variant], &'a [Variant]) {
        let heads = &self.plan.heads;
        heads.split_at(COMPARED.min(heads.len()))
    }

    fn sections(&self) -> impl Iterator<Item = Section<'a>> {
        let (plan, records) = (self.plan, self.records);
        let sections = plan.data.iter().map(move |data| Section {
            plan,
            records,
            data,
            compared: COMPARED.min(plan.heads.len()),
        });
        sections.filter(|section| {
            let of_data = |cell: &Cell| cell.data == section.data.name;
            section.records.of(of_data).next().is_some()
        })
    }

    /// For each data set with finished cells and each of its figures: bars, a group for each prompt, a bar for each head.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub fn drawings(&self) -> Result<Vec<Drawing>> {
        let mut drawings = Vec::new();
        for section in self.sections() {
            for figure in section.figures() {
                drawings.push(self.bars(&section, figure)?);
            }
        }
        Ok(drawings)
    }

    fn bars(&self, section: &Section<'_>, figure: &str) -> Result<Drawing> {
        let mut csv = String::from("prompt,head,cells,mean,sd\n");
        let mut series = Vec::new();
        for head in self.heads().0 {
            let mut bars = Vec::new();
            for prompt in &self.plan.prompts {
                let found = grid::summary(&section.values(prompt, head, figure));
                bars.push(found.map_or((f64::NAN, 0.0), |found| (found.mean, found.sd)));
                if let Some(found) = found {
                    let values = format!("{},{:.4},{:.4}", found.count, found.mean, found.sd);
                    csv += &format!("{},{},{values}\n", prompt.name, head.name);
                }
            }
            if bars.iter().any(|(mean, _)| mean.is_finite()) {
                series.push((head.title.clone(), bars));
            }
        }
        let prompts = self.plan.prompts.iter();
        let bars = Bars {
            title: format!("{}: mean over the finished cells", section.data.title),
            y_label: format!("{figure}, %"),
            groups: prompts.map(|prompt| prompt.title.clone()).collect(),
            series,
        };
        Ok(Drawing {
            name: format!("{}-{figure}", section.data.name),
            svg: bars.svg()?,
            csv,
        })
    }

    /// The page; its drawings lie in `folder` beside it.
    ///
    /// # Errors
    /// If the plan's parts contradict it.
    pub fn markdown(&self, folder: &str) -> Result<String> {
        let planned = self.plan.cells(&[])?;
        let mut text = String::from("# Results\n\n");
        self.start(&planned, folder, &mut text)?;
        self.gains(&mut text)?;
        for section in self.sections() {
            self.data_set(&section, folder, &mut text)?;
        }
        writeln!(text, "## Setting by setting\n")?;
        writeln!(
            text,
            "The paper's metric, mean ± standard deviation over seeds, percent. `both 70 %` means that 35 % of the posts \
             lack the image and 35 % the text, in training, validation and test.\n"
        )?;
        for section in self.sections() {
            writeln!(text, "**{}**\n", section.data.title)?;
            section.settings(&mut text)?;
        }
        self.ablations(&mut text)?;
        writeln!(text, "## Every other pair of heads\n")?;
        for section in self.sections() {
            section.pairs(&mut text)?;
        }
        self.left_out(&planned, &mut text)?;
        self.made_of(&mut text)?;
        Ok(text.trim_end().to_owned() + "\n")
    }

    fn start(&self, planned: &[Cell], folder: &str, text: &mut String) -> Result<()> {
        let names: BTreeSet<String> = planned.iter().map(Cell::name).collect();
        let all = self.records.all.iter().map(|record| &record.cell);
        let finished = all
            .clone()
            .filter(|cell| names.contains(&cell.name()))
            .count();
        let further = self.records.all.len() - finished;
        let seeds: BTreeSet<u64> = all.map(|cell| cell.seed).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        writeln!(
            text,
            "This page is written by `trainer paper study`; nothing on it is typed by hand. [paper.md](paper.md) has the \
             commands, [metrics.md](metrics.md) what the figures mean. {finished} of the {} planned cells are finished{}; \
             seeds {}. A cell is one training: data set, prompt, head, setting (which posts are incomplete, in training \
             and testing), seed. Its figures are in [{folder}/cells.csv]({folder}/cells.csv).\n",
            planned.len(),
            match further {
                0 => String::new(),
                count => format!(", and {count} that the plan does not ask for"),
            },
            seeds.join(", ")
        )?;
        writeln!(
            text,
            "All figures are of the test posts, in percent; differences in points. Two heads are compared over the \
             settings and seeds that both have: won / tied / lost counts these, and both tests are two-sided and paired \
             over them. The pairs share test posts and pretrained weights, and many comparisons are made: read a p value as \
             a hint, not as a proof.\n"
        )?;
        Ok(())
    }

    /// The mean gain of each head over the first, data set by data set.
    fn gains(&self, text: &mut String) -> Result<()> {
        let Some((first, others)) = self.heads().0.split_first() else {
            return Ok(());
        };
        writeln!(text, "## At a glance\n")?;
        writeln!(
            text,
            "Gain over {} in points, mean over all settings and seeds; * means that both tests give p below 0.05.\n",
            first.title
        )?;
        let titles: Vec<&str> = others.iter().map(|head| head.title.as_str()).collect();
        writeln!(
            text,
            "| data set | prompt | figure | {} |",
            titles.join(" | ")
        )?;
        writeln!(text, "|---|---|---|{}", "---|".repeat(others.len()))?;
        for section in self.sections() {
            for figure in section.figures() {
                for prompt in &self.plan.prompts {
                    let gains: Vec<String> = others
                        .iter()
                        .map(|head| section.gain(prompt, head, first, figure))
                        .collect();
                    if gains.iter().any(|gain| gain != "-") {
                        let place = format!("{} | {} | {figure}", section.data.title, prompt.title);
                        writeln!(text, "| {place} | {} |", gains.join(" | "))?;
                    }
                }
            }
        }
        writeln!(text)?;
        Ok(())
    }

    /// The heads that are variants of others.
    fn ablations(&self, text: &mut String) -> Result<()> {
        let (_, ablations) = self.heads();
        let run = |head: &Variant| {
            self.records
                .all
                .iter()
                .any(|own| own.cell.head == head.name)
        };
        if !ablations.iter().any(run) {
            return Ok(());
        }
        writeln!(text, "## Ablations\n")?;
        writeln!(
            text,
            "Heads with one thing changed (what, is under [Settings](#settings)) against the others, over the settings and \
             seeds that both have: points, * if both tests give p below 0.05.\n"
        )?;
        for section in self.sections() {
            section.ablations(text)?;
        }
        Ok(())
    }

    fn data_set(&self, section: &Section<'_>, folder: &str, text: &mut String) -> Result<()> {
        let DataSet {
            name, title, note, ..
        } = section.data;
        writeln!(text, "## {title}\n")?;
        if let Some(note) = note {
            writeln!(text, "{note}\n")?;
        }
        for figure in section.figures() {
            writeln!(text, "![{title}: {figure}]({folder}/{name}-{figure}.svg)\n")?;
        }
        section.compared(text)?;
        Ok(())
    }

    /// The cells that a series would have in full: the paper's nine settings with every seed of the plan for a head that is
    /// compared, what the plan asks for of an ablation.
    fn full(&self, series: Series<'_>, planned: &[Cell]) -> Vec<Cell> {
        let own = planned.iter().filter(|cell| series.has(cell)).cloned();
        let mut full: Vec<Cell> = own.collect();
        if !self.heads().0.iter().any(|head| head.name == series.head) {
            return full;
        }
        let seeds: BTreeSet<u64> = planned.iter().map(|cell| cell.seed).collect();
        for seed in seeds {
            for setting in SETTINGS {
                let cell = Cell {
                    data: series.data.to_owned(),
                    prompt: series.prompt.to_owned(),
                    head: series.head.to_owned(),
                    setting,
                    seed,
                };
                if !full.contains(&cell) {
                    full.push(cell);
                }
            }
        }
        full.sort_by_key(grid::place);
        full
    }

    /// Which cells of the full grid are not finished.
    fn left_out(&self, planned: &[Cell], text: &mut String) -> Result<()> {
        writeln!(text, "## What was left out\n")?;
        let finished: BTreeSet<String> = self
            .records
            .all
            .iter()
            .map(|record| record.cell.name())
            .collect();
        let (mut all, mut lines) = ([0, 0], String::new());
        for data in &self.plan.data {
            for prompt in &self.plan.prompts {
                for head in &self.plan.heads {
                    let series = Series {
                        data: &data.name,
                        prompt: &prompt.name,
                        head: &head.name,
                    };
                    let full = self.full(series, planned);
                    let missing = full.iter().filter(|cell| !finished.contains(&cell.name()));
                    let missing: Vec<&Cell> = missing.collect();
                    all = [all[0] + missing.len(), all[1] + full.len()];
                    if !missing.is_empty() {
                        writeln!(
                            lines,
                            "* {}, {}, {}: {} of {} cells ({})",
                            data.title,
                            prompt.title,
                            head.title,
                            missing.len(),
                            full.len(),
                            by_seed(&missing)
                        )?;
                    }
                }
            }
        }
        let [missing, full] = all;
        writeln!(
            text,
            "Of the full grid (nine settings and every seed for each data set, prompt and head that is compared; for ablations \
             what the plan asks for) {missing} of {full} cells are not here{}\n",
            if missing == 0 { "." } else { ":" }
        )?;
        writeln!(text, "{lines}")?;
        Ok(())
    }

    /// The settings behind each name, and the commands.
    fn made_of(&self, text: &mut String) -> Result<()> {
        writeln!(text, "## Settings\n")?;
        writeln!(text, "| | name | settings |\n|---|---|---|")?;
        for data in &self.plan.data {
            let mut said: Vec<String> = data
                .config
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect();
            said.extend(data.overrides.iter().map(|pair| format!("`{pair}`")));
            for (variant, pairs) in &data.variants {
                said.push(format!("with {variant}: `{}`", pairs.join("`, `")));
            }
            writeln!(
                text,
                "| data set | {} (`{}`) | {} |",
                data.title,
                data.name,
                said.join(", ")
            )?;
        }
        for (kind, variants) in [("prompt", &self.plan.prompts), ("head", &self.plan.heads)] {
            for Variant {
                name,
                title,
                overrides,
            } in variants
            {
                let pairs = overrides.join("`, `");
                writeln!(text, "| {kind} | {title} (`{name}`) | `{pairs}` |")?;
            }
        }
        writeln!(
            text,
            "\n```sh\n# Runs what is missing and writes this page anew.\ntrainer paper study --plan PLAN --page docs/results.md\n\
             # Writes it from the list of figures alone.\ntrainer paper study --plan PLAN --report --figures \
             docs/results/cells.csv --page docs/results.md\n```"
        )?;
        Ok(())
    }
}

/// The settings that are missing, with the seeds that lack the same ones together.
fn by_seed(missing: &[&Cell]) -> String {
    let mut settings: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for cell in missing {
        let own = settings.entry(cell.seed).or_default();
        own.push(cell.setting.to_string());
    }
    let mut groups: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for (seed, settings) in settings {
        match groups.iter_mut().find(|(_, own)| *own == settings) {
            Some((seeds, _)) => seeds.push(seed.to_string()),
            None => groups.push((vec![seed.to_string()], settings)),
        }
    }
    let told = groups.iter().map(|(seeds, settings)| {
        let what = match settings.len() {
            9.. => "all settings".to_owned(),
            _ => settings.join(" "),
        };
        format!("seed {}: {what}", seeds.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}
