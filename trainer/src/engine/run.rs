//! Owns the run folder: made once, never overwritten, and read back by everything that follows training.
//!
//! In it: `settings.toml`, `metrics.jsonl`, `run.log`, `last.safetensors`, `best.safetensors`, `val.json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use shared::config::ModelConfig;
use shared::model::Model;
use shared::nn::Tensors;

use super::assembly::{self, Assembly};
use super::atomic;
use super::checkpoint::{self, Checkpoint};
use super::fit::{BEST, LAST, State};
use crate::clip_folder::{self, ClipFolder};
use crate::metrics::evaluation::Evaluation;
use crate::settings::Settings;

/// Makes the folder of a new run and saves its settings there.
///
/// # Errors
/// If the folder has anything in it: a run is never overwritten.
pub fn create(dir: &Path, settings: &Settings) -> Result<()> {
    let kept = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry
            .as_ref()
            .is_ok_and(|entry| !atomic::is_unfinished(&entry.file_name()))
    };
    if std::fs::read_dir(dir).is_ok_and(|entries| entries.filter(kept).count() > 0) {
        bail!(
            "{} is not empty; a run is never overwritten: go on with it by --resume, or choose another --out",
            dir.display()
        );
    }
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the run folder {}", dir.display()))?;
    settings.save(dir)
}

/// A finished or stopped run.
pub struct TrainedRun {
    /// Its folder.
    pub dir: PathBuf,
    /// Its settings.
    pub settings: Settings,
    /// What its checkpoint says.
    pub state: State,
    /// The CLIP it stands on.
    pub clip: ClipFolder,
    /// The CLIP's tensors with the trained ones in their places, and `prompt.*`, `head.*`.
    pub tensors: Tensors,
}

impl TrainedRun {
    /// Opens a run's best checkpoint, or its last one if there is no validation split; `overrides` change settings
    /// that do not change the model, such as another data set or missing ratio.
    ///
    /// # Errors
    /// If the folder is no run, has no checkpoint yet, or its CLIP is gone or another one.
    pub fn open(dir: &Path, overrides: &[String], device: &Device) -> Result<Self> {
        let settings = Settings::of_run(dir, overrides)?;
        let clip = clip_folder::load(&settings.model.clip, device)?;
        Self::open_with(dir, settings, clip, device)
    }

    /// As [`TrainedRun::open`], with settings and CLIP that are open already.
    ///
    /// # Errors
    /// If the folder has no checkpoint yet, or its CLIP is another one.
    pub fn open_with(
        dir: &Path,
        settings: Settings,
        clip: ClipFolder,
        device: &Device,
    ) -> Result<Self> {
        let name = [BEST, LAST]
            .into_iter()
            .find(|name| checkpoint::path(dir, name).exists());
        let Some(name) = name else {
            bail!(
                "{} has no checkpoint yet: the run was stopped too early; go on with --resume",
                dir.display()
            );
        };
        let saved: Checkpoint<State> = checkpoint::load(dir, name, device)?;
        if assembly::sha256(&clip.tensors)? != saved.state.clip_sha256 {
            bail!(
                "the CLIP in {} is not the one this run was trained on",
                settings.model.clip.display()
            );
        }
        let mut tensors = clip.tensors.clone();
        tensors.extend(saved.tensors);
        Ok(Self {
            dir: dir.to_owned(),
            settings,
            state: saved.state,
            clip,
            tensors,
        })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.state.model
    }

    /// The trained model.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn model(&self, device: &Device) -> Result<Model> {
        Assembly::trained(self.config(), &self.tensors, device)
    }

    /// Saves an evaluation in the folder, for the model card: `val.json`, `test.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, evaluation: &Evaluation) -> Result<()> {
        let path = self.dir.join(format!("{}.json", evaluation.split));
        atomic::write(&path, serde_json::to_string_pretty(evaluation)?.as_bytes())
    }

    /// The evaluations that were saved in the folder, validation first.
    ///
    /// # Errors
    /// If one of them is damaged.
    pub fn evaluations(&self) -> Result<Vec<Evaluation>> {
        let mut found = Vec::new();
        for split in ["val", "test"] {
            let path = self.dir.join(format!("{split}.json"));
            if path.exists() {
                let text =
                    std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let damaged = || {
                    format!(
                        "{} is no evaluation; delete it and evaluate again",
                        path.display()
                    )
                };
                found.push(serde_json::from_str(&text).with_context(damaged)?);
            }
        }
        Ok(found)
    }
}
