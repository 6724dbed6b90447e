//! Owns running cells: each trained in a folder of its own, resumed if it was killed, measured, stored, cleared away.
//!
//! Several processes may run one grid: a cell is claimed by a lock that the system releases when its process ends,
//! however it ends.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::Case;
use shared::config::PromptConfig;
use shared::model::Model;

use super::cell::Cell;
use super::outcome::{Header, Outcome, Posts};
use super::plan::Plan;
use crate::clip_folder::{self, ClipFolder};
use crate::data::split::Split;
use crate::engine::dataset::Dataset;
use crate::engine::source::Split as Placed;
use crate::engine::{assembly, atomic, evaluate, session::Session};
use crate::report::Reporter;
use crate::settings::{self, DataSettings, OutputSettings, Settings};

/// How long a cell took; kept apart from its outcome, which is the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds of training, validation included.
    pub training: f64,
    /// Seconds of measuring both splits in all cases.
    pub measuring: f64,
    /// Optimiser steps of this process.
    pub steps: usize,
}

/// A grid in the making, in a folder.
pub struct Runner<'a> {
    plan: &'a Plan,
    out: &'a Path,
    last: &'a [String],
    device: &'a Device,
    /// By data set.
    open: BTreeMap<String, Open>,
}

/// CLIP and posts of the data set at hand, open between its cells.
struct Open {
    data_settings: DataSettings,
    clip_folder: PathBuf,
    clip: ClipFolder,
    clip_sha256: String,
    data: Rc<Dataset>,
    frozen: Option<Rc<Dataset>>,
}

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was finished before.
    Done,
    /// It was run now.
    Run,
    /// Another process is at it.
    Elsewhere,
    /// It was stopped; the next run goes on with it.
    Stopped,
}

impl<'a> Runner<'a> {
    /// A runner of `plan` in the folder `out`; `last` are settings that override all others.
    pub fn new(plan: &'a Plan, out: &'a Path, last: &'a [String], device: &'a Device) -> Self {
        Self {
            plan,
            out,
            last,
            device,
            open: BTreeMap::new(),
        }
    }

    /// Where a cell's outcome lies.
    pub fn outcome(out: &Path, cell: &Cell) -> PathBuf {
        out.join("cells")
            .join(format!("{}.safetensors", cell.name()))
    }

    /// Where a cell's timing lies.
    pub fn timing(out: &Path, cell: &Cell) -> PathBuf {
        out.join("cells").join(format!("{}.time.json", cell.name()))
    }

    /// Whether a cell is finished.
    ///
    /// # Errors
    /// If it was finished with other settings.
    pub fn is_done(&self, cell: &Cell) -> Result<bool> {
        let path = Self::outcome(self.out, cell);
        if !path.exists() {
            return Ok(false);
        }
        let header = Outcome::header(&path)?;
        if header.settings != fingerprint(&self.settings(cell)?)? {
            bail!(
                "{} was made with other settings than are asked for now; choose another --out, or remove the file to have \
                 the cell run again",
                path.display()
            );
        }
        Ok(true)
    }

    /// Runs a cell to its end, unless it is finished or another process is at it.
    ///
    /// # Errors
    /// If the cell cannot be trained, or was begun with other settings.
    pub fn run(&mut self, cell: &Cell, stop: &dyn Fn() -> bool) -> Result<Fate> {
        if self.is_done(cell)? {
            self.clear(cell)?;
            return Ok(Fate::Done);
        }
        let Some(claim) = Claim::take(self.out, cell)? else {
            return Ok(Fate::Elsewhere);
        };
        // It may have been finished between the look and the claim.
        let fate = if self.is_done(cell)? {
            Fate::Done
        } else {
            let named = || format!("cell {}", cell.name());
            self.work(cell, stop).with_context(named)?
        };
        claim.release(fate != Fate::Stopped);
        Ok(fate)
    }

    /// Removes what a process killed between storing a cell and clearing its run away has left.
    fn clear(&self, cell: &Cell) -> Result<()> {
        let dir = self.run_folder(cell);
        if !dir.exists() && !Claim::path(self.out, cell).exists() {
            return Ok(());
        }
        let Some(claim) = Claim::take(self.out, cell)? else {
            // Whoever has stored it just now is clearing away.
            return Ok(());
        };
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("cannot clear {} away", dir.display()))?;
        }
        claim.release(true);
        Ok(())
    }

    fn run_folder(&self, cell: &Cell) -> PathBuf {
        self.out.join("runs").join(cell.name())
    }

    fn settings(&self, cell: &Cell) -> Result<Settings> {
        let mut settings = self.plan.settings(cell, self.last)?;
        settings.output = OutputSettings::default();
        Ok(settings)
    }

    fn work(&mut self, cell: &Cell, stop: &dyn Fn() -> bool) -> Result<Fate> {
        let settings = self.settings(cell)?;
        let (out, device) = (self.out, self.device);
        let dir = self.run_folder(cell);
        let resume = begun(&dir, &settings)?;
        let open = self.open(&cell.data, &settings)?;
        let mut session = open.session(&settings, &dir, device, &open.data)?;
        if settings.model.prompt == PromptConfig::None {
            let frozen = match &open.frozen {
                Some(frozen) => Rc::clone(frozen),
                None => session.settled()?,
            };
            session = open.session(&settings, &dir, device, &frozen)?;
            open.frozen = Some(frozen);
        }
        let start = Instant::now();
        let (state, finished) = session.train(resume, Reporter::silent(), stop)?;
        if !finished {
            return Ok(Fate::Stopped);
        }
        let training = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let data = open
            .frozen
            .as_ref()
            .filter(|_| settings.model.prompt == PromptConfig::None)
            .unwrap_or(&open.data);
        let model = session.best()?;
        let posts = |split| measure(&model, data, split, settings.train.batch_size);
        let mut header = Header::new(
            cell.name(),
            fingerprint(&settings)?,
            open.clip_sha256.clone(),
            settings.model.task,
            &data.classes,
        );
        let train = data.source(Split::Train)?;
        header.posts = train.len();
        header.rows = (0..train.len())
            .map(|post| train.row(post) + 1)
            .max()
            .unwrap_or(0);
        header.rng = settings.missing.rng;
        header.step = state.best.map_or(state.step, |best| best.step);
        let outcome = Outcome {
            header,
            val: posts(Split::Val)?,
            test: posts(Split::Test)?,
        };
        let timing = Timing {
            training,
            measuring: start.elapsed().as_secs_f64(),
            steps: state.step,
        };
        // The outcome comes last: with it the cell is finished.
        let path = Self::timing(out, cell);
        make_parent(&path)?;
        atomic::write(&path, serde_json::to_string(&timing)?.as_bytes())?;
        outcome.save(&Self::outcome(out, cell))?;
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("cannot clear {} away", dir.display()))?;
        Ok(Fate::Run)
    }

    /// CLIP and posts of a cell, open from now on: decoding pictures takes longer than a small cell.
    fn open(&mut self, name: &str, settings: &Settings) -> Result<&mut Open> {
        let same = |open: &Open| {
            open.data_settings == settings.data && open.clip_folder == settings.model.clip
        };
        let open = match self.open.remove(name).filter(same) {
            Some(open) => open,
            None => {
                let clip = clip_folder::load(&settings.model.clip, self.device)?;
                let data = Dataset::open(settings, &Split::ALL, None, &clip, self.device)?;
                Open {
                    data_settings: settings.data.clone(),
                    clip_folder: settings.model.clip.clone(),
                    clip_sha256: assembly::sha256(&clip.tensors)?,
                    clip,
                    data: Rc::new(data),
                    frozen: None,
                }
            }
        };
        Ok(self.open.entry(name.to_owned()).or_insert(open))
    }
}

impl Open {
    fn session<'s>(
        &self,
        settings: &'s Settings,
        dir: &'s Path,
        device: &'s Device,
        data: &Rc<Dataset>,
    ) -> Result<Session<'s>> {
        Session::with(settings, dir, device, self.clip.clone(), Rc::clone(data))
    }
}

/// Whether a run of these settings was begun in the folder. What was killed before its settings were written is swept.
fn begun(dir: &Path, settings: &Settings) -> Result<bool> {
    if !dir.join(settings::FILE).exists() {
        if dir.exists() {
            std::fs::remove_dir_all(dir)
                .with_context(|| format!("cannot clear {} away", dir.display()))?;
        }
        return Ok(false);
    }
    if Settings::of_run(dir, &[])? != *settings {
        bail!(
            "{} was begun with other settings than are asked for now; remove it, or choose another --out",
            dir.display()
        );
    }
    Ok(true)
}

/// The logits of a split in each case.
fn measure(model: &Model, data: &Dataset, split: Split, batch_size: usize) -> Result<Posts> {
    let source = data.source(split)?;
    let count = source.len();
    let mut posts = Posts {
        own: (0..count).map(|post| source.case(post)).collect(),
        rows: (0..count).map(|post| source.row(post)).collect(),
        targets: (0..count)
            .map(|post| source.classes(post).to_vec())
            .collect(),
        logits: [(); 3].map(|()| vec![Vec::new(); count]),
    };
    for case in Case::ALL {
        let placed = Placed::all_in_case(source, case);
        let predictions = evaluate::predict(model, &placed, batch_size)?;
        for (&(post, _), logits) in placed.posts.iter().zip(predictions.logits) {
            posts.logits[case.index()][post] = logits;
        }
    }
    Ok(posts)
}

/// The SHA-256 of settings, in hexadecimal.
fn fingerprint(settings: &Settings) -> Result<String> {
    let digest = Sha256::digest(settings.to_toml()?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The right to run a cell.
struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Claim {
    fn take(out: &Path, cell: &Cell) -> Result<Option<Self>> {
        let path = Self::path(out, cell);
        make_parent(&path)?;
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    fn path(out: &Path, cell: &Cell) -> PathBuf {
        out.join("runs").join(format!("{}.lock", cell.name()))
    }

    /// Removes the lock's file if the cell is finished: nobody asks for it again.
    fn release(self, finished: bool) {
        if finished {
            // A file that stays is only untidy.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
