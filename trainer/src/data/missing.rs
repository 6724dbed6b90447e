//! Owns missing tables: which posts of a split lose a modality, drawn once from a seed and kept for a whole run.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{Case, rng};

use super::cpython::PythonRandom;
use super::split::Split;
use crate::engine::atomic;
use crate::settings::{MissingKind, MissingRng};

/// The version of the file format.
const FORMAT: u32 = 1;

/// A source of random samples.
pub trait Sampler {
    /// `count` different numbers below `population`, in the order drawn.
    fn sample(&mut self, population: usize, count: usize) -> Vec<usize>;
}

impl Sampler for rng::Rng {
    fn sample(&mut self, population: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..population).collect();
        let count = count.min(population);
        for i in 0..count {
            all.swap(i, i + rng::below(self, population - i));
        }
        all.truncate(count);
        all
    }
}

/// What a table is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Which modality goes.
    pub kind: MissingKind,
    /// Share of posts that lose one.
    pub ratio: f64,
    /// Of those, the share that loses the image, if `kind` is `both`.
    pub both_ratio: f64,
    /// The seed.
    pub seed: u64,
    /// The generator; files of before there was a choice have none.
    #[serde(default)]
    pub rng: MissingRng,
}

/// A table as it was drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The table.
    pub table: Table,
    /// The rows that lose something, in the order drawn.
    pub sampled: Vec<usize>,
}

/// The case of every post of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it was drawn from.
    pub recipe: Recipe,
    /// By post, in the split's order.
    pub cases: Vec<Case>,
}

/// A table on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    #[serde(flatten)]
    recipe: Recipe,
    rows: usize,
    /// Of the codes as bytes 0, 1, 2.
    sha256: String,
    /// A digit for every post: 0 complete, 1 text missing, 2 image missing.
    codes: String,
}

impl Recipe {
    /// Draws the tables of train, val and test; each has a recipe of its own, but all have the first one's generator and
    /// seed. The project's generator has a stream for each split, so that one split's table does not depend on the size
    /// of another; CPython's has one stream for all three, as the reference code has.
    ///
    /// # Errors
    /// If a share is not between 0 and 1.
    pub fn draw_all(recipes: &[Self; 3], rows: [usize; 3]) -> Result<[Drawn; 3]> {
        let [train, val, test] = recipes;
        let mut python = PythonRandom::new(train.seed);
        let mut draw = |recipe: &Self, split: Split, rows| match train.rng {
            MissingRng::Chacha => {
                let name = format!("missing table of {}", split.name());
                recipe.draw_with(&mut rng::stream(recipe.seed, &name), rows)
            }
            MissingRng::Cpython => recipe.draw_with(&mut python, rows),
        };
        Ok([
            draw(train, Split::Train, rows[0])?,
            draw(val, Split::Val, rows[1])?,
            draw(test, Split::Test, rows[2])?,
        ])
    }

    /// The table of one split, if all three have the same recipe.
    ///
    /// # Errors
    /// As [`Recipe::draw_all`].
    pub fn draw(&self, split: Split, rows: [usize; 3]) -> Result<Table> {
        let all = Self::draw_all(&[*self; 3], rows)?;
        let [train, val, test] = all.map(|drawn| drawn.table);
        Ok(match split {
            Split::Train => train,
            Split::Val => val,
            Split::Test => test,
        })
    }

    /// Draws as the reference code does: int(rows * ratio) posts lose the text (or the image), then, for `both`,
    /// int(count * both_ratio) of these lose the image instead.
    ///
    /// # Errors
    /// As [`Recipe::draw_all`].
    fn draw_with(&self, sampler: &mut dyn Sampler, rows: usize) -> Result<Drawn> {
        for (name, share) in [("ratio", self.ratio), ("both_ratio", self.both_ratio)] {
            ensure!(
                (0.0..=1.0).contains(&share),
                "the missing table's {name} is {share}; it must be between 0 and 1"
            );
        }
        let first = match self.kind {
            MissingKind::Text | MissingKind::Both => Case::TextMissing,
            MissingKind::Image => Case::ImageMissing,
        };
        let mut cases = vec![Case::Complete; rows];
        let mut sampled = Vec::new();
        let count = (rows as f64 * self.ratio) as usize;
        if count > 0 {
            let chosen = sampler.sample(rows, count);
            for &post in &chosen {
                cases[post] = first;
            }
            if self.kind == MissingKind::Both {
                let images = (count as f64 * self.both_ratio) as usize;
                for place in sampler.sample(count, images) {
                    cases[chosen[place]] = Case::ImageMissing;
                }
            }
            sampled = chosen;
        }
        let table = Table {
            recipe: *self,
            cases,
        };
        Ok(Drawn { table, sampled })
    }
}

impl Table {
    /// Number of posts in each case, in the order of the codes.
    pub fn counts(&self) -> [usize; 3] {
        Case::ALL.map(|case| self.cases.iter().filter(|own| **own == case).count())
    }

    /// SHA-256 of the codes as bytes, in hexadecimal.
    pub fn sha256(&self) -> String {
        let codes: Vec<u8> = self.cases.iter().map(|case| case.code()).collect();
        Sha256::digest(codes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The name of the table's file, with everything it was drawn from: `food101_val_missing_text_50_cpython_seed0.json`.
    pub fn file_name(&self, name: &str) -> String {
        let kind = match self.recipe.kind {
            MissingKind::Both => "both",
            MissingKind::Text => "text",
            MissingKind::Image => "image",
        };
        let rng = match self.recipe.rng {
            MissingRng::Chacha => "chacha",
            MissingRng::Cpython => "cpython",
        };
        let (percent, seed) = (100.0 * self.recipe.ratio, self.recipe.seed);
        format!("{name}_missing_{kind}_{percent:.0}_{rng}_seed{seed}.json")
    }

    /// Saves the table with its recipe.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = File {
            format: FORMAT,
            recipe: self.recipe,
            rows: self.cases.len(),
            sha256: self.sha256(),
            codes: self
                .cases
                .iter()
                .map(|case| char::from(b'0' + case.code()))
                .collect(),
        };
        atomic::write(path, serde_json::to_string_pretty(&file)?.as_bytes())
    }

    /// Reads a table for a split of `rows` posts.
    ///
    /// # Errors
    /// If the file is damaged, or the table is for another number of posts.
    pub fn load(path: &Path, rows: usize) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let file: File = serde_json::from_str(&text).with_context(|| {
            format!("{name} is no missing table; remove it to have it drawn anew")
        })?;
        ensure!(
            file.format == FORMAT,
            "{name} has format {}, this program reads format {FORMAT}",
            file.format
        );
        let cases: Vec<Case> = file
            .codes
            .bytes()
            .map(|digit| Case::from_code(digit.wrapping_sub(b'0')))
            .collect::<shared::Result<_>>()
            .with_context(|| format!("{name}: the field \"codes\" is damaged"))?;
        let table = Self {
            recipe: file.recipe,
            cases,
        };
        if table.sha256() != file.sha256 || table.cases.len() != file.rows {
            bail!(
                "{name} is damaged: its codes do not agree with its sha256; remove it to have it drawn anew"
            );
        }
        ensure!(
            file.rows == rows,
            "{name} is for {} posts, but the split has {rows}; was the data changed? remove the file to have it drawn anew",
            file.rows
        );
        Ok(table)
    }

    /// The table at `path` if it is there, which must be this one; else this one, saved there.
    ///
    /// # Errors
    /// If the file is damaged, is for another number of posts, or was drawn from another recipe or for splits of other
    /// sizes.
    pub fn load_or_save(self, path: &Path) -> Result<Self> {
        if !path.exists() {
            self.save(path)?;
            return Ok(self);
        }
        let table = Self::load(path, self.cases.len())?;
        ensure!(
            table.recipe == self.recipe,
            "{} was drawn from {:?}, but {:?} is asked for; remove it or ask for the same",
            path.display(),
            table.recipe,
            self.recipe
        );
        // As CPython draws, the splits follow each other on one stream: the sizes of earlier ones matter.
        ensure!(
            table.cases == self.cases,
            "{} was drawn when the data's splits had other sizes; was the data changed? remove it to have it drawn anew",
            path.display()
        );
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Recipe = Recipe {
        kind: MissingKind::Both,
        ratio: 0.7,
        both_ratio: 0.5,
        seed: 0,
        rng: MissingRng::Chacha,
    };

    /// On CPython's stream the validation table depends on how many training posts came before.
    #[test]
    fn a_table_of_other_splits_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing_val.json");
        let cpython = Recipe {
            rng: MissingRng::Cpython,
            ..BOTH
        };
        let val = |train: usize| {
            let [_, val, _] = Recipe::draw_all(&[cpython; 3], [train, 40, 40]).unwrap();
            val.table
        };
        let saved = val(100).load_or_save(&path).unwrap();
        assert_eq!(val(100).load_or_save(&path).unwrap(), saved);
        assert_ne!(val(120).cases, saved.cases);
        let error = val(120).load_or_save(&path).unwrap_err().to_string();
        assert!(error.contains("splits had other sizes"), "{error}");
    }

    /// The sizes of the paper's data sets with the counts the reference code gives (issue 2, method notes 8).
    #[test]
    fn counts_are_the_reference_codes() {
        for (rows, counts) in [
            (15_552, [4_666, 5_443, 5_443]),
            (2_608, [783, 913, 912]),
            (7_799, [2_340, 2_730, 2_729]),
        ] {
            assert_eq!(BOTH.draw(Split::Train, [rows; 3]).unwrap().counts(), counts);
        }
        let text = Recipe {
            kind: MissingKind::Text,
            ..BOTH
        };
        assert_eq!(
            text.draw(Split::Train, [15_552; 3]).unwrap().counts(),
            [4_666, 10_886, 0]
        );
        let image = Recipe {
            kind: MissingKind::Image,
            ratio: 0.9,
            ..BOTH
        };
        assert_eq!(
            image.draw(Split::Test, [7_799; 3]).unwrap().counts(),
            [780, 0, 7_019]
        );
        assert_eq!(
            Recipe { ratio: 0.0, ..BOTH }
                .draw(Split::Val, [5; 3])
                .unwrap()
                .counts(),
            [5, 0, 0]
        );
        assert!(
            Recipe { ratio: 1.5, ..BOTH }
                .draw(Split::Val, [5; 3])
                .is_err()
        );
    }

    #[test]
    fn seed_and_split_decide() {
        let table = BOTH.draw(Split::Train, [100; 3]).unwrap();
        assert_eq!(table, BOTH.draw(Split::Train, [100; 3]).unwrap());
        assert_ne!(table.cases, BOTH.draw(Split::Test, [100; 3]).unwrap().cases);
        assert_ne!(
            table.cases,
            Recipe { seed: 1, ..BOTH }
                .draw(Split::Train, [100; 3])
                .unwrap()
                .cases
        );
    }

    #[test]
    fn files_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.json");
        let table = BOTH
            .draw(Split::Train, [50; 3])
            .unwrap()
            .load_or_save(&path)
            .unwrap();
        assert_eq!(
            BOTH.draw(Split::Train, [50; 3])
                .unwrap()
                .load_or_save(&path)
                .unwrap(),
            table
        );
        let error = |result: Result<Table>| format!("{:#}", result.unwrap_err());
        assert!(error(Table::load(&path, 51)).contains("for 50 posts"));
        let other = Recipe { seed: 9, ..BOTH };
        assert!(
            error(
                other
                    .draw(Split::Train, [50; 3])
                    .unwrap()
                    .load_or_save(&path)
            )
            .contains("seed: 9")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let damaged = text.replacen("\"codes\": \"", "\"codes\": \"0", 1);
        std::fs::write(&path, damaged).unwrap();
        assert!(error(Table::load(&path, 50)).contains("damaged"));
    }
}
