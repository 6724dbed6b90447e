//! Owns what a cell leaves behind: the logits of every validation and test post in every case it can appear in.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use shared::config::Task;
use shared::{Case, Modality};

use super::cell::Setting;
use crate::data::missing::Recipe;
use crate::data::split::Split;
use crate::engine::atomic;
use crate::metrics::Predictions;
use crate::settings::MissingRng;

/// The version of the file format.
const FORMAT: u32 = 1;
/// The key of the header in the file's metadata.
const HEADER: &str = "cell";

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// The cell's name.
    pub cell: String,
    /// SHA-256 of the settings it was trained with, in hexadecimal.
    pub settings: String,
    /// SHA-256 of the CLIP's tensors.
    pub clip: String,
    /// The task.
    pub task: Task,
    /// The classes, in the order of the logits.
    pub classes: Vec<String>,
    /// The generator of its missing tables.
    pub rng: MissingRng,
    /// The training posts.
    pub posts: usize,
    /// The rows of the training split's missing table.
    pub rows: usize,
    /// The optimiser step whose model was measured.
    pub step: usize,
}

/// The posts of one split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Posts {
    /// What each post has before anything is taken away.
    pub own: Vec<Case>,
    /// The row of the missing table of each.
    pub rows: Vec<usize>,
    /// The classes of each.
    pub targets: Vec<Vec<usize>>,
    /// By case code: the logits `[K]` of each post; empty for a post that cannot appear in the case.
    pub logits: [Vec<Vec<f32>>; 3],
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it is.
    pub header: Header,
    /// Chosen by.
    pub val: Posts,
    /// Reported.
    pub test: Posts,
}

impl Header {
    /// A header of the present format.
    pub fn new(
        cell: String,
        settings: String,
        clip: String,
        task: Task,
        classes: &[String],
    ) -> Self {
        Self {
            format: FORMAT,
            cell,
            settings,
            clip,
            task,
            classes: classes.to_vec(),
            rng: MissingRng::Chacha,
            posts: 0,
            rows: 0,
            step: 0,
        }
    }
}

impl Posts {
    /// All posts that can appear in one case, in it.
    pub fn in_case(&self, case: Case) -> Predictions {
        let mut all = Predictions::default();
        for post in 0..self.own.len() {
            self.push(&mut all, post, case);
        }
        all
    }

    fn table_rows(&self) -> usize {
        self.rows.iter().max().map_or(0, |last| last + 1)
    }

    fn push(&self, all: &mut Predictions, post: usize, case: Case) {
        let logits = &self.logits[case.index()][post];
        if !logits.is_empty() {
            all.push(case, logits.clone(), self.targets[post].clone());
        }
    }

    fn tensors(&self, classes: usize) -> [(&'static str, Vec<u8>, Vec<usize>, Dtype); 6] {
        let count = self.own.len();
        let shape = vec![count, classes];
        let mut targets = vec![0u8; count * classes];
        for (post, own) in self.targets.iter().enumerate() {
            for &class in own {
                targets[post * classes + class] = 1;
            }
        }
        let logits = |case: Case| -> Vec<u8> {
            let rows = self.logits[case.index()].iter().flat_map(|row| {
                let absent = vec![f32::NAN; if row.is_empty() { classes } else { 0 }];
                row.iter().copied().chain(absent).collect::<Vec<f32>>()
            });
            rows.flat_map(f32::to_le_bytes).collect()
        };
        let own = self.own.iter().map(|case| case.code()).collect();
        let rows = self
            .rows
            .iter()
            .flat_map(|&row| (row as u32).to_le_bytes())
            .collect();
        [
            ("cases", own, vec![count], Dtype::U8),
            ("rows", rows, vec![count], Dtype::U32),
            ("targets", targets, shape.clone(), Dtype::U8),
            (
                "complete",
                logits(Case::Complete),
                shape.clone(),
                Dtype::F32,
            ),
            (
                "text_missing",
                logits(Case::TextMissing),
                shape.clone(),
                Dtype::F32,
            ),
            (
                "image_missing",
                logits(Case::ImageMissing),
                shape,
                Dtype::F32,
            ),
        ]
    }

    fn read(file: &SafeTensors<'_>, split: &str, classes: usize) -> Result<Self> {
        let tensor = |name: &str| -> Result<Vec<u8>> {
            Ok(file.tensor(&format!("{split}.{name}"))?.data().to_vec())
        };
        let own: Vec<Case> = tensor("cases")?
            .into_iter()
            .map(Case::from_code)
            .collect::<shared::Result<_>>()?;
        let table_rows = tensor("rows")?;
        ensure!(
            table_rows.len() == own.len() * 4,
            "the rows have a wrong size"
        );
        let table_rows = table_rows
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let targets = tensor("targets")?;
        let bytes = |case: Case| tensor(case.name());
        let [complete, text_missing, image_missing] = Case::ALL.map(bytes);
        let rows = |bytes: Vec<u8>| -> Result<Vec<Vec<f32>>> {
            ensure!(
                bytes.len() == own.len() * classes * 4,
                "a table of logits has a wrong size"
            );
            let values: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            let row = |row: &[f32]| {
                // All not numbers: the post cannot appear so.
                if row.iter().all(|x| x.is_nan()) {
                    Vec::new()
                } else {
                    row.to_vec()
                }
            };
            Ok(values.chunks(classes.max(1)).map(row).collect())
        };
        ensure!(
            targets.len() == own.len() * classes,
            "the targets have a wrong size"
        );
        let set = |row: &[u8]| (0..classes).filter(|&class| row[class] != 0).collect();
        Ok(Self {
            logits: [
                rows(complete?)?,
                rows(text_missing?)?,
                rows(image_missing?)?,
            ],
            rows: table_rows.collect(),
            targets: targets.chunks(classes.max(1)).map(set).collect(),
            own,
        })
    }
}

impl Outcome {
    /// The posts of a split as they appear if `setting` is simulated with tables of this seed: exactly as
    /// [`crate::engine::dataset::Dataset::simulated`] places them.
    ///
    /// # Errors
    /// If the rate is impossible.
    pub fn simulated(&self, split: Split, setting: Setting, seed: u64) -> Result<Predictions> {
        let recipe = Recipe {
            kind: setting.kind,
            ratio: setting.ratio(),
            both_ratio: 0.5,
            seed,
            rng: self.header.rng,
        };
        let posts = match split {
            Split::Val => &self.val,
            Split::Train | Split::Test => &self.test,
        };
        let rows = [
            self.header.rows,
            self.val.table_rows(),
            self.test.table_rows(),
        ];
        let table = recipe.draw(split, rows)?;
        let mut all = Predictions::default();
        for (post, (&own, &row)) in posts.own.iter().zip(&posts.rows).enumerate() {
            let taken = table.cases[row];
            let left = |modality: Modality| own.has(modality) && taken.has(modality);
            let case = Case::of(left(Modality::Image), left(Modality::Text)).unwrap_or(own);
            posts.push(&mut all, post, case);
        }
        Ok(all)
    }

    /// Saves it, whole or not at all. The same outcome is always the same bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let classes = self.header.classes.len();
        let mut parts = BTreeMap::new();
        for (split, posts) in [("val", &self.val), ("test", &self.test)] {
            for (name, bytes, shape, dtype) in posts.tensors(classes) {
                parts.insert(format!("{split}.{name}"), (bytes, shape, dtype));
            }
        }
        let views = parts
            .iter()
            .map(|(name, (bytes, shape, dtype))| {
                Ok((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let header = HashMap::from([(HEADER.to_owned(), serde_json::to_string(&self.header)?)]);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        atomic::write(path, &serialize(views, Some(header))?)
    }

    /// Reads the header alone.
    ///
    /// # Errors
    /// If it is no finished cell.
    pub fn header(path: &Path) -> Result<Header> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        header(&bytes).with_context(|| damaged(path))
    }

    /// Reads a finished cell.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = || -> Result<Self> {
            let header = header(&bytes)?;
            let file = SafeTensors::deserialize(&bytes)?;
            let classes = header.classes.len();
            Ok(Self {
                val: Posts::read(&file, "val", classes)?,
                test: Posts::read(&file, "test", classes)?,
                header,
            })
        };
        read().with_context(|| damaged(path))
    }
}

fn header(bytes: &[u8]) -> Result<Header> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let header = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(HEADER));
    let header: Header = serde_json::from_str(header.context("it has no header")?)?;
    ensure!(
        header.format == FORMAT,
        "it has format {}, this program reads format {FORMAT}",
        header.format
    );
    Ok(header)
}

fn damaged(path: &Path) -> String {
    format!(
        "{} is no finished cell; remove it to have it run again",
        path.display()
    )
}
