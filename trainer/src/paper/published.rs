//! Owns the paper's own numbers: tables 1 to 3 of "Decoupled Multimodal Prototypes for Visual Recognition with Missing
//! Modalities", percent, in `published.csv`.

use anyhow::{Context, Result};

use super::cell::{Cell, Setting};
use super::known::Experiment;

/// The tables as typed.
const TABLES: &str = include_str!("published.csv");

/// One number of the paper.
#[derive(Clone, Debug, PartialEq)]
struct Number {
    table: String,
    data: String,
    setting: Setting,
    prompt: String,
    head: String,
    value: f64,
}

/// The numbers of one table.
#[derive(Clone, Debug)]
pub struct Published {
    numbers: Vec<Number>,
}

impl Published {
    /// The numbers of an experiment; figures have none.
    ///
    /// # Errors
    /// If the table in the program is damaged.
    pub fn of(experiment: Experiment) -> Result<Self> {
        let name = match experiment {
            Experiment::Table2 => "table2",
            Experiment::Table3 => "table3",
            _ => "table1",
        };
        let mut numbers = all()?;
        numbers.retain(|number| number.table == name);
        Ok(Self { numbers })
    }

    /// The paper's number for a cell, in percent, whatever its seed.
    pub fn value(&self, cell: &Cell) -> Option<f64> {
        let same = |number: &&Number| {
            number.data == cell.data
                && number.setting == cell.setting
                && number.prompt == cell.prompt
                && number.head == cell.head
        };
        self.numbers.iter().find(same).map(|number| number.value)
    }
}

fn all() -> Result<Vec<Number>> {
    let mut csv = csv::Reader::from_reader(TABLES.as_bytes());
    csv.records()
        .map(|row| {
            let row = row?;
            let field = |place: usize| row.get(place).context("a column is missing");
            Ok(Number {
                table: field(0)?.into(),
                data: field(1)?.into(),
                setting: format!("{}-{}", field(2)?, field(3)?).parse()?,
                prompt: field(4)?.into(),
                head: field(5)?.into(),
                value: field(6)?.parse()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(experiment: Experiment, data: &str, setting: &str, prompt: &str, head: &str) -> f64 {
        let cell = Cell {
            data: data.into(),
            prompt: prompt.into(),
            head: head.into(),
            setting: setting.parse().unwrap(),
            seed: 7,
        };
        Published::of(experiment).unwrap().value(&cell).unwrap()
    }

    /// Sentences of the paper's section 3.2 about its table 1.
    #[test]
    fn the_table_says_what_the_paper_says_of_it() {
        let gain = |head| {
            let of = |head| value(Experiment::Table1, "mm-imdb", "both-70", "dcp", head);
            of("dpl") - of(head)
        };
        assert!((gain("linear") - 4.02).abs() < 1e-9);
        assert!(
            (gain("dept") - 4.09).abs() < 1e-9,
            "4.07 in the text, 4.09 in the table"
        );
        let food = |prompt, head| value(Experiment::Table1, "food101", "text-50", prompt, head);
        assert_eq!(food("map", "linear"), 82.10);
        assert_eq!(food("maple", "linear"), 82.45);
        assert_eq!((food("map", "dpl"), food("maple", "dpl")), (85.37, 85.08));
        assert_eq!(
            value(Experiment::Table1, "hateful-memes", "both-90", "dcp", "dpl"),
            65.45
        );
        assert_eq!(
            value(Experiment::Table2, "mm-imdb", "text-70", "dcp", "arcface"),
            54.15
        );
        assert_eq!(
            value(Experiment::Table3, "mm-imdb", "both-90", "dcp", "joint"),
            53.50
        );
    }

    #[test]
    fn every_cell_has_its_number_once() {
        let numbers = all().unwrap();
        assert_eq!(numbers.len(), 27 * 9 + 18 + 18);
        let mut seen = std::collections::BTreeSet::new();
        for number in numbers {
            let Number {
                table,
                data,
                setting,
                prompt,
                head,
                ..
            } = number;
            assert!(seen.insert(format!("{table} {data} {setting} {prompt} {head}")));
        }
    }

    /// Tables 2 and 3 repeat table 1's column of DPL, but for one cell (57.36 for 57.35).
    #[test]
    fn the_ablations_repeat_the_main_table() {
        for setting in super::super::cell::SETTINGS {
            let of = |experiment| value(experiment, "mm-imdb", &setting.to_string(), "dcp", "dpl");
            let main = of(Experiment::Table1);
            for ablation in [Experiment::Table2, Experiment::Table3] {
                assert!((of(ablation) - main).abs() < 0.011, "{setting}");
            }
        }
    }
}
