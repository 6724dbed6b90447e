//! Owns the settings of a training run: defaults, then a TOML file, then `--set key=value`, later ones winning.

pub mod layers;
mod loss;
mod train;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use shared::config::{DcpConfig, DplConfig, HeadConfig, PromptConfig, Task};

use crate::engine::atomic;
use crate::metrics::Selection;

pub use loss::{LossSettings, MarginSchedule, Prototypes};
pub use train::{Initialise, TrainSettings};

/// The name of the resolved copy in a run folder.
pub const FILE: &str = "settings.toml";

/// Everything a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the posts come from.
    pub data: DataSettings,
    /// What is trained.
    pub model: ModelSettings,
    /// What is minimised.
    pub loss: LossSettings,
    /// How it is trained.
    pub train: TrainSettings,
    /// Which posts lack a modality.
    pub missing: MissingSettings,
    /// Where the run goes.
    pub output: OutputSettings,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// What the data are.
    pub format: Format,
    /// The folder with `data.jsonl`; not used by synthetic data.
    pub path: PathBuf,
    /// A folder that keeps preprocessed pictures for this run and later ones; without it they are kept in memory up to
    /// 2 GiB, and made anew each time beyond that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// At most this many posts per split, for a quick try.
    pub limit: Option<usize>,
    /// The field (or column) that holds the classes, if it is not called `label` or `labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Classes with fewer posts in the whole data set are left out.
    #[serde(skip_serializing_if = "is_default")]
    pub min_posts: usize,
    /// MM-IMDb: which plots of a film are posts.
    #[serde(skip_serializing_if = "is_default")]
    pub plots: Plots,
    /// Hateful Memes: which file is tested on.
    #[serde(skip_serializing_if = "is_default")]
    pub test_file: TestFile,
}

/// Which plots of a film are posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Plots {
    /// Each: what the reference code does.
    #[default]
    All,
    /// The first one.
    First,
}

/// Which file of Hateful Memes is tested on; papers rarely say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum TestFile {
    /// `test_seen.jsonl`, 1,000 memes.
    #[default]
    TestSeen,
    /// `test_unseen.jsonl`, 2,000 memes.
    TestUnseen,
}

impl TestFile {
    /// The file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::TestSeen => "test_seen.jsonl",
            Self::TestUnseen => "test_unseen.jsonl",
        }
    }
}

/// Settings that most runs do not need stay out of the resolved copy.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The kinds of data sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// A folder with `data.jsonl` and pictures (`docs/data.md`).
    #[default]
    Jsonl,
    /// A folder with `data.csv` and pictures.
    Csv,
    /// A folder with `data.parquet`.
    Parquet,
    /// MM-IMDb as it is published.
    MmImdb,
    /// UPMC Food-101 as it is published.
    Food101,
    /// Hateful Memes as it is published.
    HatefulMemes,
    /// Coloured squares with words, made on the spot: for tests and first tries.
    Synthetic,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            format: Format::Jsonl,
            path: "data/emoji".into(),
            limit: None,
            cache: None,
            label: None,
            min_posts: 0,
            plots: Plots::All,
            test_file: TestFile::TestSeen,
        }
    }
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// A Hugging Face CLIP folder.
    pub clip: PathBuf,
    /// One class per post, or any number.
    pub task: Task,
    /// Whether the norms after the towers and the image projection are trained too, as the reference code does.
    pub train_norms_and_projection: bool,
    /// `[model.prompt]`
    pub prompt: PromptConfig,
    /// `[model.head]`
    pub head: HeadConfig,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            clip: "assets/clip-tiny".into(),
            task: Task::MultiClass,
            train_norms_and_projection: true,
            prompt: PromptConfig::Dcp(DcpConfig::default()),
            head: HeadConfig::Dpl(DplConfig::default()),
        }
    }
}

/// `[missing]`: the tables that take modalities away, drawn once per split and kept for the whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MissingSettings {
    /// Which modality goes.
    pub kind: MissingKind,
    /// Share of posts that lose one, 0 to 1.
    pub ratio: f64,
    /// Of those, the share that loses the image, if `kind` is `both`.
    pub both_ratio: f64,
    /// Whether training posts that are complete appear in one of the three cases, drawn anew each epoch: for complete
    /// data and a classifier that is to work without a modality (`simulate_missing` of the reference code).
    pub simulate: bool,
    /// The seed of the tables.
    pub seed: u64,
    /// The generator of the tables.
    pub rng: MissingRng,
    /// Another kind for the test split.
    pub test_kind: Option<MissingKind>,
    /// Another ratio for the test split.
    pub test_ratio: Option<f64>,
}

/// Which modality is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum MissingKind {
    /// Of some posts the text, of others the image; never both.
    #[default]
    Both,
    /// The text.
    Text,
    /// The image.
    Image,
}

/// What missing tables are drawn with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum MissingRng {
    /// The project's own: a stream for each split.
    #[default]
    Chacha,
    /// CPython's `random`, one stream for all splits: the reference code's tables, bit for bit.
    Cpython,
}

impl Default for MissingSettings {
    fn default() -> Self {
        Self {
            kind: MissingKind::Both,
            ratio: 0.7,
            both_ratio: 0.5,
            simulate: false,
            seed: 0,
            rng: MissingRng::Chacha,
            test_kind: None,
            test_ratio: None,
        }
    }
}

/// `[output]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    /// The run folder; `--out` overrides it.
    pub dir: Option<PathBuf>,
    /// The classifier's name in an exported bundle.
    pub name: Option<String>,
    /// What it does, in a sentence or two.
    pub description: Option<String>,
    /// The licence of the exported weights.
    pub licence: Option<String>,
    /// Where data and CLIP come from, one sentence each, for the model card.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

impl Settings {
    /// Defaults, then the file, then each `key=value` in order.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown (the nearest one is named), or a value impossible.
    pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let settings: Self = layers::resolve(file, overrides)?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads the resolved copy of a run, with overrides.
    ///
    /// # Errors
    /// If the folder is no run, or its settings are damaged.
    pub fn of_run(run: &Path, overrides: &[String]) -> Result<Self> {
        let path = run.join(FILE);
        if !path.exists() {
            bail!("{} is no run folder: it has no {FILE}", run.display());
        }
        Self::resolve(Some(&path), overrides)
    }

    /// Saves the resolved copy.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, run: &Path) -> Result<()> {
        atomic::write(&run.join(FILE), self.to_toml()?.as_bytes())
    }

    /// The settings as a TOML file.
    ///
    /// # Errors
    /// If a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("the settings cannot be written as TOML")
    }

    /// The metric that decides on `best`.
    pub fn selection(&self) -> Selection {
        self.train
            .select
            .unwrap_or_else(|| Selection::of(self.model.task))
    }

    /// Says which value is impossible, if one is.
    fn check(&self) -> Result<()> {
        let share = |key: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                bail!("{key} is {value}; it must be between 0 and 1")
            }
        };
        let above_zero = |key: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                bail!("{key} is {value}; it must be above 0")
            }
        };
        share("missing.ratio", self.missing.ratio)?;
        share("missing.both_ratio", self.missing.both_ratio)?;
        share("missing.test_ratio", self.missing.test_ratio.unwrap_or(0.0))?;
        share("train.warmup", self.train.warmup)?;
        share("train.floor", self.train.floor)?;
        above_zero("train.rate", self.train.rate)?;
        above_zero("train.validate_every", self.train.validate_every)?;
        above_zero("loss.temperature", self.loss.temperature)?;
        for (key, value) in [
            ("train.epochs", self.train.epochs),
            ("train.batch_size", self.train.batch_size),
            ("train.accumulate", self.train.accumulate),
            ("train.checkpoint_every", self.train.checkpoint_every),
            ("data.limit", self.data.limit.unwrap_or(1)),
        ] {
            above_zero(key, value as f64)?;
        }
        for margin in self.loss.margin {
            if !(0.0..std::f64::consts::PI).contains(&margin) {
                bail!("loss.margin has {margin}; a margin is an angle from 0 up to pi");
            }
        }
        if self.loss.contrast < 0.0 {
            bail!(
                "loss.contrast is {}; it must not be negative",
                self.loss.contrast
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolved_copy_reads_back() {
        let overrides = [
            "train.rate=0.003",
            "model.head.method=linear",
            "data.path=posts",
            "missing.ratio=0",
        ];
        let settings = Settings::resolve(None, &overrides.map(String::from)).unwrap();
        assert_eq!(settings.model.head, HeadConfig::Linear);
        assert_eq!(settings.data.path, Path::new("posts"));
        let folder = tempfile::tempdir().unwrap();
        settings.save(folder.path()).unwrap();
        assert_eq!(Settings::of_run(folder.path(), &[]).unwrap(), settings);
    }

    #[test]
    fn impossible_values_are_told() {
        for (setting, told) in [
            ("missing.ratio=1.5", "missing.ratio is 1.5"),
            ("train.epochs=0", "train.epochs is 0"),
        ] {
            let error = Settings::resolve(None, &[setting.into()]).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
    }
}
