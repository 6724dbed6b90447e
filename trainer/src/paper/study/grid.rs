//! Owns reading a study's figures as a grid: one variant's values by setting and seed, their mean and spread, and two
//! variants side by side.

use std::collections::BTreeMap;

use super::super::cell::Cell;
use super::super::record::Records;
use super::super::tables::Summary;
use crate::metrics::compare::{self, Paired};

/// A setting and a seed: the setting's row in the paper, its name, the seed.
pub(super) type Place = (usize, String, u64);
/// A figure in percent, by place.
pub(super) type Values = BTreeMap<Place, f64>;

/// A data set, prompt and head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    pub(super) data: &'a str,
    pub(super) prompt: &'a str,
    pub(super) head: &'a str,
}

impl Series<'_> {
    /// Whether a cell is one of its cells.
    pub(super) fn has(&self, cell: &Cell) -> bool {
        cell.data == self.data && cell.prompt == self.prompt && cell.head == self.head
    }
}

/// Where a cell stands in its series.
pub(super) fn place(cell: &Cell) -> Place {
    (cell.setting.place(), cell.setting.to_string(), cell.seed)
}

/// A figure of every finished cell of a series, in percent. As exact as the list of cells that is kept on disk: a page
/// made from that list is the same to the letter.
pub(super) fn values(records: &Records, series: Series<'_>, figure: &str) -> Values {
    records
        .of(|cell| series.has(cell))
        .filter_map(|record| {
            let value = record.figures.get(figure)?;
            let kept: f64 = format!("{value:.6}").parse().ok()?;
            Some((place(&record.cell), 100.0 * kept))
        })
        .collect()
}

/// The mean over all cells, and the standard deviation over seeds: within each setting, pooled over the settings that
/// have more than one seed. (The settings themselves differ by far more, which says nothing about chance.)
pub(super) fn summary(values: &Values) -> Option<Summary> {
    let all: Vec<f64> = values.values().copied().collect();
    let mean = Summary::of(&all)?.mean;
    let (mut squares, mut freedom) = (0.0, 0);
    for group in by_setting(values).into_values() {
        if let Some(own) = Summary::of(&group) {
            squares += own.sd.powi(2) * (own.count - 1) as f64;
            freedom += own.count - 1;
        }
    }
    Some(Summary {
        mean,
        sd: (squares / freedom.max(1) as f64).sqrt(),
        count: all.len(),
    })
}

/// The values of each setting, over seeds, in the order of the paper's rows.
pub(super) fn by_setting(values: &Values) -> BTreeMap<(usize, String), Vec<f64>> {
    let mut groups: BTreeMap<(usize, String), Vec<f64>> = BTreeMap::new();
    for ((row, setting, _), value) in values {
        let group = groups.entry((*row, setting.clone())).or_default();
        group.push(*value);
    }
    groups
}

/// Ours against theirs over the settings and seeds that both have.
pub(super) fn paired(ours: &Values, theirs: &Values) -> Paired {
    let both = ours
        .iter()
        .filter_map(|(place, value)| Some((*value, *theirs.get(place)?)));
    let (ours, theirs): (Vec<f64>, Vec<f64>) = both.unzip();
    compare::paired(&ours, &theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: &[(&str, u64, f64)]) -> Values {
        let place = |setting: &str, seed| (0, setting.to_owned(), seed);
        let all = all.iter();
        all.map(|&(setting, seed, value)| (place(setting, seed), value))
            .collect()
    }

    #[test]
    fn the_spread_is_that_of_seeds_and_not_of_settings() {
        // Within a setting 2 apart (variance 2), the settings 40 apart; one setting has one seed and says nothing.
        let found = summary(&values(&[
            ("a", 0, 10.0),
            ("a", 1, 12.0),
            ("b", 0, 50.0),
            ("b", 1, 52.0),
            ("c", 0, 31.0),
        ]))
        .unwrap();
        assert_eq!((found.mean, found.count), (31.0, 5));
        assert!((found.sd - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn only_what_both_have_is_compared() {
        let ours = values(&[("a", 0, 11.0), ("a", 1, 12.0), ("b", 0, 1.0)]);
        let theirs = values(&[("a", 0, 10.0), ("b", 0, 1.0), ("b", 1, 99.0)]);
        let found = paired(&ours, &theirs);
        assert_eq!(
            (found.pairs, found.won, found.tied, found.lost),
            (2, 1, 1, 0)
        );
        assert!((found.mean - 0.5).abs() < 1e-12);
    }
}
