//! Owns a whole training session: opens CLIP and data, makes or reopens the run folder, trains, and measures the best.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use candle_core::Device;
use shared::config::{ModelConfig, PromptConfig};
use shared::head;
use shared::model::Model;
use shared::nn::frozen::Memory;

use super::assembly::Assembly;
use super::dataset::{self, Dataset};
use super::fit::{Fit, LAST, State};
use super::group::Group;
use super::run::{self, TrainedRun};
use super::{checkpoint, evaluate};
use crate::clip_folder::{self, ClipFolder};
use crate::data::split::Split;
use crate::metrics::evaluation::Evaluation;
use crate::report::{Reporter, log};
use crate::settings::{Initialise, Settings};

/// CLIP, data and model of a run.
pub struct Session<'a> {
    settings: &'a Settings,
    dir: &'a Path,
    device: &'a Device,
    clip: ClipFolder,
    data: Rc<Dataset>,
    assembly: Assembly,
}

impl<'a> Session<'a> {
    /// Opens what the settings name; writes nothing.
    ///
    /// # Errors
    /// If CLIP or data cannot be read, or the model is impossible.
    pub fn open(settings: &'a Settings, dir: &'a Path, device: &'a Device) -> Result<Self> {
        let clip = clip_folder::load(&settings.model.clip, device)?;
        let data = Dataset::open(settings, &[Split::Train, Split::Val], None, &clip, device)?;
        Self::with(settings, dir, device, clip, Rc::new(data))
    }

    /// A session on a CLIP and data that are open already: what the settings name.
    ///
    /// # Errors
    /// If the model is impossible.
    pub fn with(
        settings: &'a Settings,
        dir: &'a Path,
        device: &'a Device,
        clip: ClipFolder,
        data: Rc<Dataset>,
    ) -> Result<Self> {
        let config = ModelConfig {
            clip: clip.config.clone(),
            prompt: settings.model.prompt.clone(),
            head: settings.model.head.clone(),
            task: settings.model.task,
            classes: data.classes.clone(),
        };
        let tuned = settings.model.train_norms_and_projection;
        let (seed, precision) = (settings.train.seed, settings.train.precision);
        precision.settle(device)?;
        let mut assembly =
            Assembly::fresh_in(&config, &clip.tensors, tuned, seed, precision, device)?;
        if settings.train.recompute {
            assembly.model.set_memory(Memory::Recompute);
        }
        Ok(Self {
            settings,
            dir,
            device,
            clip,
            data,
            assembly,
        })
    }

    /// The data with the towers run beforehand as far as nothing in them is trained; else the data as they are.
    ///
    /// # Errors
    /// If a post cannot be read.
    pub fn settled(&self) -> Result<Rc<Dataset>> {
        let folder = self.settings.data.cache.as_deref();
        match self.settings.model.prompt {
            PromptConfig::None => {
                let frozen = self.data.frozen(&self.assembly, folder, self.device)?;
                Ok(Rc::new(frozen))
            }
            _ => self.data.begun(&self.assembly, folder, self.device),
        }
    }

    /// Trains in the run folder until the end or until `stop` says so; returns where it stands and whether that is
    /// the end. With `resume` the folder's run goes on; one that was killed before its first checkpoint begins anew.
    ///
    /// # Errors
    /// If the run exists (without `resume`), a post cannot be read, or a file cannot be written.
    pub fn train(
        &self,
        resume: bool,
        reporter: Reporter,
        stop: &dyn Fn() -> bool,
    ) -> Result<(State, bool)> {
        self.train_together(&Group::alone(), resume, reporter, stop)
    }

    /// As [`Session::train`], as one of several processes; only the leading one writes into the run folder, which all of
    /// them must be able to read.
    ///
    /// # Errors
    /// As [`Session::train`], and if another process is gone.
    pub fn train_together(
        &self,
        group: &Group,
        resume: bool,
        mut reporter: Reporter,
        stop: &dyn Fn() -> bool,
    ) -> Result<(State, bool)> {
        let Self {
            settings,
            dir,
            device,
            assembly,
            ..
        } = self;
        if group.leads() {
            if !resume {
                run::create(dir, settings)?;
            }
            log::to_run(dir)?;
        }
        let data = self.settled()?;
        // Others draw the same tables; those of a run that goes on are there to be read.
        let tables = (group.leads() || resume).then_some(*dir);
        let simulated = |split| data.simulated(split, &settings.missing, tables);
        let (train, val) = (simulated(Split::Train)?, simulated(Split::Val)?);
        let missing = dataset::describe(Split::Train, &settings.missing);
        let (posts, held_out) = (train.posts.len(), val.posts.len());
        let classes = self.data.classes.len();
        reporter.note(format!(
            "{posts} train and {held_out} val posts, {classes} classes; missing: {missing}"
        ))?;
        let resume = resume && checkpoint::path(dir, LAST).exists();
        let mut measured = head::tensors(&settings.model.head).measured();
        if settings.train.initialise == Initialise::Random {
            measured.retain(|(_, measure)| !measure.is_start());
        }
        if !measured.is_empty() && !resume {
            let (size, seed) = (settings.train.batch_size, settings.train.seed);
            let model = &assembly.model;
            evaluate::measure(model, &measured, &train, size, seed, device)?
                .iter()
                .try_for_each(|(name, value)| assembly.set(name, value))?;
        }
        assembly.follow(group)?;
        let mut fit = Fit::new(settings, dir, assembly, group, (train, val), device)?;
        if resume {
            fit.resume()?;
        }
        if group.leads() {
            reporter.keep(&dir.join("metrics.jsonl"), fit.state().step)?;
        }
        let finished = fit.run(&mut reporter, stop)?;
        Ok((fit.state().clone(), finished))
    }

    /// The best checkpoint's model.
    ///
    /// # Errors
    /// If there is no checkpoint.
    pub fn best(&self) -> Result<Model> {
        self.trained()?.model(self.device)
    }

    fn trained(&self) -> Result<TrainedRun> {
        TrainedRun::open_with(
            self.dir,
            self.settings.clone(),
            self.clip.clone(),
            self.device,
        )
    }

    /// Measures the best checkpoint on the validation split by case, and saves the figures as `val.json`.
    ///
    /// # Errors
    /// If there is no checkpoint, or the figures cannot be saved.
    pub fn measure(&self) -> Result<Evaluation> {
        let trained = self.trained()?;
        let model = trained.model(self.device)?;
        let evaluation = evaluate::by_case(&model, &self.data, Split::Val, self.settings)?;
        trained.save(&evaluation)?;
        Ok(evaluation)
    }
}
