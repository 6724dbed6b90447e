//! Owns opening what `[data]` and `[missing]` describe: the three splits, the classes, and each split's cases.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::assembly::Assembly;
use anyhow::{Context, Result};
use candle_core::Device;
use shared::Case;
use tempfile::TempDir;

use super::begun::BegunSource;
use super::frozen::FrozenSource;
use super::source::{Source, Split as Placed};
use crate::clip_folder::ClipFolder;
use crate::data::format::{self, DataSet};
use crate::data::loader::Loader;
use crate::data::missing::Recipe;
use crate::data::pictures::Cache;
use crate::data::split::Split;
use crate::data::{record, synthetic};
use crate::settings::{Format, MissingKind, MissingSettings, Settings};

/// Synthetic posts per split.
const SYNTHETIC: [usize; 3] = [96, 36, 36];

/// The splits of a data set.
pub struct Dataset {
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
    /// Rows of the missing tables of train, val and test, whether these splits are open or not.
    rows: [usize; 3],
    splits: BTreeMap<Split, Box<dyn Source>>,
}

impl Dataset {
    /// Opens these splits of the data of a run. The classes are the `known` ones of a trained model, or else those of
    /// all splits.
    ///
    /// # Errors
    /// If the data set cannot be read, a post of a multi-class task does not have exactly one label, or a label is not
    /// among the known classes.
    pub fn open(
        settings: &Settings,
        which: &[Split],
        known: Option<&[String]>,
        clip: &ClipFolder,
        device: &Device,
    ) -> Result<Self> {
        let (DataSet { posts, classes, .. }, _made) = read(settings)?;
        let opened = posts.iter().filter(|post| which.contains(&post.split));
        format::check_task(opened, settings.model.task)?;
        let classes = known.map_or(classes, <[String]>::to_vec);
        let mut splits = BTreeMap::new();
        let limit = settings.data.limit;
        let cache = Cache {
            folder: settings.data.cache.clone(),
            ..Cache::default()
        };
        for &split in which {
            let own = record::of_split(&posts, split, limit);
            let (images, tokenizer) = (&clip.preprocessor, &clip.tokenizer);
            let loader = Loader::new(own, &classes, images, tokenizer, device, &cache)?;
            splits.insert(split, Box::new(loader) as Box<dyn Source>);
        }
        let rows = Split::ALL.map(|split| record::rows(&record::of_split(&posts, split, limit)));
        Ok(Self {
            classes,
            rows,
            splits,
        })
    }

    /// The same posts with their towers run beforehand ([`FrozenSource`]); by an earlier run, if a folder is given and has
    /// what it made.
    ///
    /// # Errors
    /// If the model has prompts, a post cannot be read, or the folder cannot be written.
    pub fn frozen(
        &self,
        assembly: &Assembly,
        folder: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let mut splits = BTreeMap::new();
        for (&split, source) in &self.splits {
            let frozen = match folder {
                Some(folder) => FrozenSource::kept(source.as_ref(), assembly, folder, device)?,
                None => FrozenSource::new(source.as_ref(), &assembly.model)?,
            };
            splits.insert(split, Box::new(frozen) as Box<dyn Source>);
        }
        Ok(Self {
            classes: self.classes.clone(),
            rows: self.rows,
            splits,
        })
    }

    /// The same posts with the first blocks of their towers run beforehand ([`BegunSource`]), where that applies; the others
    /// as they are. Needs no more than `self` while it lasts.
    ///
    /// # Errors
    /// If a post cannot be read, or the folder cannot be written.
    pub fn begun(
        self: &Rc<Self>,
        assembly: &Assembly,
        folder: Option<&Path>,
        device: &Device,
    ) -> Result<Rc<Self>> {
        let mut splits = BTreeMap::new();
        for (&split, source) in &self.splits {
            match BegunSource::new(source.as_ref(), assembly, folder, device)? {
                Some(begun) => splits.insert(split, Box::new(begun) as Box<dyn Source>),
                // All or none: the splits of a run are few, and those that are measured are the smaller ones.
                None => return Ok(Rc::clone(self)),
            };
        }
        Ok(Rc::new(Self {
            classes: self.classes.clone(),
            rows: self.rows,
            splits,
        }))
    }

    /// The posts of a split.
    ///
    /// # Errors
    /// If the data set has no such split.
    pub fn source(&self, split: Split) -> Result<&dyn Source> {
        let found = self.splits.get(&split).filter(|source| !source.is_empty());
        let found = found.with_context(|| {
            format!("the data set has no posts for the split {:?}", split.name())
        })?;
        Ok(found.as_ref())
    }

    /// A split with the cases that `[missing]` simulates. With a run folder, the table is kept there.
    ///
    /// # Errors
    /// If the data set has no such split.
    pub fn simulated(
        &self,
        split: Split,
        missing: &MissingSettings,
        run: Option<&Path>,
    ) -> Result<Placed<'_>> {
        let source = self.source(split)?;
        let recipes = Split::ALL.map(|split| recipe(split, missing));
        let [train, val, test] = Recipe::draw_all(&recipes, self.rows)?;
        let mut table = match split {
            Split::Train => train.table,
            Split::Val => val.table,
            Split::Test => test.table,
        };
        if let Some(dir) = run {
            table = table.load_or_save(&dir.join(format!("missing_{}.json", split.name())))?;
        }
        let cases: Vec<Case> = (0..source.len())
            .map(|post| table.cases[source.row(post)])
            .collect();
        let placed = Placed::with_table(source, &cases)?;
        let redraw = (missing.simulate && split == Split::Train).then_some(missing.seed);
        Ok(Placed { redraw, ..placed })
    }
}

/// Reads the posts of a run's data. Synthetic ones lie in a folder that lasts as long as what comes with them.
///
/// # Errors
/// If the data set cannot be read.
pub fn read(settings: &Settings) -> Result<(DataSet, Option<TempDir>)> {
    if settings.data.format != Format::Synthetic {
        return Ok((format::read(&settings.data.path, &settings.data)?, None));
    }
    let made = tempfile::tempdir().context("cannot make a folder for synthetic posts")?;
    synthetic::write(made.path(), SYNTHETIC, settings.train.seed)?;
    Ok((format::read(made.path(), &settings.data)?, Some(made)))
}

/// The recipe of a split's table.
fn recipe(split: Split, missing: &MissingSettings) -> Recipe {
    let (kind, ratio) = simulation(split, missing);
    Recipe {
        kind,
        ratio,
        both_ratio: missing.both_ratio,
        seed: missing.seed,
        rng: missing.rng,
    }
}

/// Kind and ratio of a split: the test split may have its own.
fn simulation(split: Split, missing: &MissingSettings) -> (MissingKind, f64) {
    match split {
        Split::Test => (
            missing.test_kind.unwrap_or(missing.kind),
            missing.test_ratio.unwrap_or(missing.ratio),
        ),
        Split::Train | Split::Val => (missing.kind, missing.ratio),
    }
}

/// The simulation of a split in words: `both 0.7, seed 0`.
pub fn describe(split: Split, missing: &MissingSettings) -> String {
    let (kind, ratio) = simulation(split, missing);
    let kind = match kind {
        MissingKind::Both => "both",
        MissingKind::Text => "text",
        MissingKind::Image => "image",
    };
    let simulated = if missing.simulate && split == Split::Train {
        ", the rest drawn anew each epoch"
    } else {
        ""
    };
    format!("{kind} {ratio}, seed {}{simulated}", missing.seed)
}
