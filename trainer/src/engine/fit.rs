//! Owns the loop of `trainer train`: step, validate, checkpoint; stops when asked to and goes on where it was.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use shared::Case;
use shared::config::ModelConfig;
use shared::nn::Tensors;

use super::adamw::{AdamW, NotFinite};
use super::ahead::Ahead;
use super::assembly::Assembly;
use super::checkpoint::{self, Checkpoint};
use super::evaluate;
use super::group::Group;
use super::order::Order;
use super::pass::Pass;
use super::precision::LossScale;
use super::schedule::Schedule;
use super::source::Split;
use crate::loss::Objective;
use crate::report::{Event, Reporter, Values};
use crate::settings::Settings;

/// The checkpoint to go on from.
pub const LAST: &str = "last";
/// The checkpoint that did best on the validation split.
pub const BEST: &str = "best";

/// What a checkpoint of a classifier knows beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Optimiser steps done.
    pub step: usize,
    /// The best validation so far.
    pub best: Option<Best>,
    /// The model.
    pub model: ModelConfig,
    /// The SHA-256 of the frozen CLIP's tensors.
    pub clip_sha256: String,
    /// What the loss is multiplied by, in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
}

/// The best validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After which step.
    pub step: usize,
    /// The deciding metric.
    pub value: f64,
}

/// A training run in the making.
pub struct Fit<'a> {
    settings: &'a Settings,
    dir: &'a Path,
    assembly: &'a Assembly,
    group: &'a Group,
    train: Split<'a>,
    val: Split<'a>,
    device: Device,
    optimiser: AdamW,
    order: Order,
    schedule: Schedule,
    objective: Objective,
    state: State,
}

impl<'a> Fit<'a> {
    /// A fresh run, from the assembly's present values.
    ///
    /// # Errors
    /// If the training split is empty.
    pub fn new(
        settings: &'a Settings,
        dir: &'a Path,
        assembly: &'a Assembly,
        group: &'a Group,
        splits: (Split<'a>, Split<'a>),
        device: &Device,
    ) -> Result<Self> {
        let (train, val) = splits;
        let wanted = &settings.train;
        let order = Order::new(
            train.posts.len(),
            wanted.batch_size,
            wanted.accumulate,
            wanted.epochs,
            wanted.seed,
        )?;
        let schedule = Schedule {
            peak: wanted.rate,
            warmup: (wanted.warmup * order.scheduled_steps() as f64) as usize,
            total: order.scheduled_steps(),
            decay: wanted.decay,
            floor: wanted.floor,
        };
        Ok(Self {
            optimiser: AdamW::new(&assembly.parameters, wanted.optimiser, |name| {
                !name.contains("bias")
            }),
            objective: Objective::new(settings.model.task, settings.loss.clone(), train.cases()),
            state: State {
                step: 0,
                best: None,
                model: assembly.model.config().clone(),
                clip_sha256: assembly.clip_sha256.clone(),
                loss_scale: LossScale::of(wanted.precision),
            },
            device: device.clone(),
            settings,
            dir,
            assembly,
            group,
            train,
            val,
            order,
            schedule,
        })
    }

    /// Goes back to the checkpoint `last` of the run folder.
    ///
    /// # Errors
    /// If it cannot be read or belongs to another model, CLIP or data set.
    pub fn resume(&mut self) -> Result<()> {
        let saved: Checkpoint<State> = checkpoint::load(self.dir, LAST, &self.device)?;
        if saved.state.clip_sha256 != self.state.clip_sha256 {
            bail!(
                "the CLIP in {} is not the one this run was started with",
                self.settings.model.clip.display()
            );
        }
        if saved.state.model != self.state.model {
            bail!(
                "the run was started with another model or other classes; --resume needs the same settings and data"
            );
        }
        self.assembly.restore(&saved.tensors)?;
        self.optimiser.restore(&saved.optimiser)?;
        self.state = saved.state;
        Ok(())
    }

    /// What the last checkpoint would say.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Trains to the end, or until `stop` says so after a step; returns whether the end was reached. The checkpoint
    /// `last` is written in both cases.
    ///
    /// # Errors
    /// If a post cannot be read, the loss is not finite, or a checkpoint cannot be written.
    pub fn run(&mut self, reporter: &mut Reporter, stop: &dyn Fn() -> bool) -> Result<bool> {
        let (start, steps) = (Instant::now(), self.order.steps());
        let parameters = self.assembly.parameters.elements();
        reporter.tell(&Event::Started {
            name: "train".into(),
            step: self.state.step,
            steps,
            parameters,
        })?;
        tracing::info!(step = self.state.step, steps, parameters, "training");
        std::thread::scope(|scope| {
            let ahead = Ahead::start(
                scope,
                self.train.clone(),
                self.order.clone(),
                self.state.step,
                self.group.share(),
            );
            self.steps(steps, &ahead, reporter, stop)
        })?;
        let step = self.state.step;
        reporter.tell(&Event::Finished {
            step,
            seconds: start.elapsed().as_secs_f64(),
        })?;
        Ok(step == steps)
    }

    fn steps(
        &mut self,
        steps: usize,
        ahead: &Ahead,
        reporter: &mut Reporter,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        while self.state.step < steps {
            let (values, agreed) = self.step(ahead, reporter, stop)?;
            let step = self.state.step;
            // Several stop after the same step, so they have asked each other in it.
            let stopped = agreed || (self.group.size() == 1 && stop());
            let validated = self.is_due(step);
            if validated {
                self.validate(reporter)?;
            }
            if validated
                || stopped
                || step.is_multiple_of(self.settings.train.checkpoint_every)
                || step == steps
            {
                self.save(LAST, reporter)?;
            }
            if stopped && step < steps {
                tracing::info!(step, loss = values.get("loss"), "stopped on request");
                break;
            }
        }
        Ok(())
    }

    /// One optimiser step; the incomplete rest of an epoch is divided by the full accumulation too. Also returns whether
    /// any of several processes was asked to stop.
    fn step(
        &mut self,
        ahead: &Ahead,
        reporter: &mut Reporter,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Values, bool)> {
        let (start, step) = (Instant::now(), self.state.step);
        let place = || format!("step {}", step + 1);
        let (model, parameters) = (&self.assembly.model, &self.assembly.parameters);
        let (rate, progress) = (self.schedule.rate(step), self.schedule.progress(step));
        let batches = self.settings.train.accumulate;
        let factor = self.state.loss_scale.map_or(1.0, |scale| scale.factor());
        let pieces = ahead.next()?;
        let waited = start.elapsed().as_secs_f64();
        let mut pass = Pass::default();
        for piece in pieces {
            let with = (model, &self.objective, parameters);
            pass.add(piece, with, progress, (factor, batches), &self.device)?;
        }
        let agreed = pass.exchange(self.group, parameters, stop, &self.device)?;
        let figures = pass.figures(batches).with_context(place)?;
        let mut values: Values = figures
            .into_iter()
            .map(|(name, figure)| (name.to_owned(), figure))
            .collect();
        values.extend(self.update(&mut pass.gradients, rate).with_context(place)?);
        self.state.step += 1;
        let seen = pass.predictions()?;
        let classes = model.config().classes.len();
        let selection = self.settings.selection().name();
        let figures = seen.figures(self.settings.model.task, classes);
        values.extend(
            figures
                .get(selection)
                .map(|&figure| (selection.to_owned(), figure)),
        );
        reporter.tell(&Event::Step {
            step: self.state.step,
            epoch: self.order.epoch_after(self.state.step),
            rate,
            posts: self.order.batches(step).iter().map(Vec::len).sum(),
            seconds: start.elapsed().as_secs_f64(),
            waited,
            values: values.clone(),
        })?;
        Ok((values, agreed))
    }

    /// Changes the parameters by the step's gradients; a step in which scaled gradients overflow is left out.
    fn update(&mut self, gradients: &mut Tensors, rate: f64) -> Result<Values> {
        let parameters = &self.assembly.parameters;
        let Some(scale) = &mut self.state.loss_scale else {
            let norm = self.optimiser.step(parameters, gradients, rate)?;
            return Ok(Values::from([("gradient_norm".into(), norm)]));
        };
        let factor = scale.factor();
        for gradient in gradients.values_mut() {
            *gradient = (&*gradient / factor)?;
        }
        let mut values = Values::from([("loss_scale".into(), factor)]);
        match self.optimiser.step(parameters, gradients, rate) {
            Ok(norm) => {
                scale.held();
                values.insert("gradient_norm".into(), norm);
            }
            Err(error) if error.is::<NotFinite>() => scale.overflowed()?,
            Err(error) => return Err(error),
        }
        Ok(values)
    }

    /// Whether the validation split is looked at after this step: each time a multiple of `validate_every` epochs is
    /// passed, and at the end.
    fn is_due(&self, step: usize) -> bool {
        let every = self.settings.train.validate_every;
        let looks = |step: usize| (self.order.epoch_after(step) / every + 1e-9).floor();
        step == self.order.steps() || looks(step) > looks(step - 1)
    }

    /// Looks at the validation split; keeps the best. `best` is written before `last`: a crash in between only
    /// repeats this validation.
    fn validate(&mut self, reporter: &mut Reporter) -> Result<()> {
        if self.val.posts.is_empty() {
            return Ok(());
        }
        let (task, step) = (self.settings.model.task, self.state.step);
        let classes = self.state.model.classes.len();
        let predictions = evaluate::predict_together(
            self.group,
            &self.assembly.model,
            &self.val,
            self.settings.train.batch_size,
        )?;
        let selection = self.settings.selection().name();
        let mut values = predictions.figures(task, classes);
        let value = *values.get(selection).with_context(|| {
            format!("train.select = {selection:?} cannot be computed on the validation split of this task")
        })?;
        for case in Case::ALL {
            let figures = predictions.of_case(case).figures(task, classes);
            let figure = figures
                .get(selection)
                .filter(|_| self.val.cases().contains(&case));
            values.extend(figure.map(|&figure| (format!("{selection}_{}", case.name()), figure)));
        }
        let best = self.state.best.is_none_or(|best| value > best.value);
        tracing::info!(step, selection, value, best, "validated");
        reporter.tell(&Event::Measured {
            step,
            split: "val".into(),
            values,
            best: Some(best),
        })?;
        if best {
            self.state.best = Some(Best { step, value });
            self.save(BEST, reporter)?;
        }
        Ok(())
    }

    fn save(&self, name: &str, reporter: &mut Reporter) -> Result<()> {
        if !self.group.leads() {
            return Ok(());
        }
        let optimiser = if name == LAST {
            self.optimiser.state()?
        } else {
            Tensors::new()
        };
        let checkpoint = Checkpoint {
            tensors: self.assembly.saved()?,
            optimiser,
            state: self.state.clone(),
        };
        reporter.tell(&Event::Saved {
            step: self.state.step,
            name: name.into(),
        })?;
        checkpoint::save(self.dir, name, &checkpoint)?;
        Ok(())
    }
}
