//! Owns a pretraining run: the loop over steps, its checkpoints, and going on after an interruption.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use shared::clip::{self, Clip};
use shared::nn::Tensors;
use shared::nn::linear::Linear;
use shared::preprocess::image::ImagePreprocessor;
use shared::rng::{normal, stream};

use super::data::Data;
use super::evaluate::Evaluator;
use super::feed::Feed;
use super::folder::{self, Record};
use super::objective::Objective;
use super::settings::PretrainSettings;
use crate::engine::adamw::AdamW;
use crate::engine::atomic;
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::parameters::Parameters;
use crate::engine::schedule::{Decay, Schedule};
use crate::report::{Event, Reporter, Values};
use crate::settings::FILE;

/// The one checkpoint that is kept.
const LAST: &str = "last";
/// The auxiliary classifier's tensors, which are trained but no part of the CLIP.
const GROUP: &str = "auxiliary.group";
const LOGIT_SCALE: &str = "logit_scale";

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    step: usize,
    seconds: f64,
    validation: Values,
}

/// A run in its folder, at some step.
pub struct Session {
    settings: PretrainSettings,
    folder: PathBuf,
    device: Device,
    data: Data,
    evaluator: Evaluator,
    parameters: Parameters,
    optimiser: AdamW,
    objective: Objective,
    state: State,
}

impl Session {
    /// A new run in an empty or new folder.
    ///
    /// # Errors
    /// If the folder holds a run already, the settings are impossible, or data is missing.
    pub fn start(settings: PretrainSettings, folder: &Path, device: &Device) -> Result<Self> {
        settings.check()?;
        if folder.join(FILE).exists() {
            bail!(
                "{} holds a run already; go on with --resume, or choose another folder",
                folder.display()
            );
        }
        Self::begin(settings, folder, device)
    }

    fn begin(settings: PretrainSettings, folder: &Path, device: &Device) -> Result<Self> {
        let data = Data::read(&settings, None)?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let config = settings.model.clip_config();
        folder::write_description(folder, &config, &data.tokenizer.to_json())?;
        let mut rng = stream(settings.seed, "pretrain/initialise");
        let mut tensors = clip::initialise(&config, &mut rng, device)?;
        if settings.loss.group > 0.0 && !data.groups.is_empty() {
            let (classes, joint) = (data.groups.len(), settings.model.joint);
            tensors.insert(
                format!("{GROUP}.weight"),
                normal(&mut rng, &[classes, joint], 0.02, device)?,
            );
            tensors.insert(
                format!("{GROUP}.bias"),
                normal(&mut rng, &[classes], 0.0, device)?,
            );
        }
        let session = Self::assemble(settings, folder, device, data, tensors)?;
        atomic::write(
            &folder.join(FILE),
            toml::to_string_pretty(&session.settings)?.as_bytes(),
        )?;
        Ok(session)
    }

    /// The run in `folder` where its last checkpoint left it; from the beginning if there is none yet.
    ///
    /// # Errors
    /// If the folder holds no run, or its checkpoint does not fit the settings.
    pub fn resume(settings: PretrainSettings, folder: &Path, device: &Device) -> Result<Self> {
        settings.check()?;
        if !folder.join(FILE).exists() {
            bail!(
                "{} holds no run to go on with; start one without --resume",
                folder.display()
            );
        }
        if !checkpoint::path(folder, LAST).exists() {
            return Self::begin(settings, folder, device);
        }
        let data = Data::read(&settings, Some(&folder.join("tokenizer.json")))?;
        let saved: Checkpoint<State> = checkpoint::load(folder, LAST, device)?;
        let mut session = Self::assemble(settings, folder, device, data, saved.tensors)?;
        session.optimiser.restore(&saved.optimiser)?;
        session.state = saved.state;
        Ok(session)
    }

    fn assemble(
        settings: PretrainSettings,
        folder: &Path,
        device: &Device,
        data: Data,
        tensors: Tensors,
    ) -> Result<Self> {
        let parameters = Parameters::from_tensors(tensors)?;
        let vb = parameters.var_builder(&Tensors::new(), device);
        let config = settings.model.clip_config();
        let scale = parameters
            .get(LOGIT_SCALE)
            .context("the checkpoint has no logit_scale")?
            .as_tensor()
            .clone();
        let group = match settings.loss.group > 0.0 && !data.groups.is_empty() {
            true => Some(Linear::load(
                settings.model.joint,
                data.groups.len(),
                true,
                vb.pp(GROUP),
            )?),
            false => None,
        };
        let objective = Objective::new(
            Clip::load(&config, vb)?,
            scale,
            group,
            settings.loss.clone(),
        );
        let shapes: Tensors = parameters
            .iter()
            .map(|(name, v)| (name.to_string(), v.as_tensor().clone()))
            .collect();
        let optimiser = AdamW::new(&parameters, settings.optimiser.adamw, |name| {
            let flat = shapes.get(name).is_none_or(|tensor| tensor.rank() < 2);
            !flat
                && !name.ends_with("position_embedding.weight")
                && !name.ends_with("token_embedding.weight")
        });
        let preprocessor =
            ImagePreprocessor::from_json(&folder::preprocessor_json(settings.model.image_size)?)?;
        let evaluator = Evaluator::new(&settings, preprocessor)?;
        let (folder, device) = (folder.to_path_buf(), device.clone());
        Ok(Self {
            settings,
            folder,
            device,
            data,
            evaluator,
            parameters,
            optimiser,
            objective,
            state: State::default(),
        })
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// Trains up to step `until` (at most the settings' steps), and leaves a CLIP folder and a checkpoint.
    ///
    /// # Errors
    /// If a loss is no number any more, or a file cannot be written; the last checkpoint stays good.
    pub fn run(&mut self, until: usize, reporter: &mut Reporter) -> Result<()> {
        let until = until.min(self.settings.steps);
        let begun = Instant::now();
        self.announce(reporter)?;
        let feed_settings = self.settings.clone();
        let mut tick = Instant::now();
        {
            let Self {
                settings,
                device,
                data,
                evaluator,
                parameters,
                optimiser,
                objective,
                state,
                folder,
            } = self;
            let mut feed = Feed::new(
                &feed_settings,
                &data.library,
                &data.nouns,
                &data.groups,
                &data.tokenizer,
            )?;
            let schedule = Schedule {
                peak: settings.optimiser.learning_rate,
                warmup: settings.optimiser.warmup,
                total: settings.steps,
                decay: Decay::Cosine,
                floor: settings.optimiser.floor,
            };
            while state.step < until {
                let asked = Instant::now();
                let batch = feed.batch(state.step, device)?;
                let waited = asked.elapsed().as_secs_f64();
                let loss = objective.loss(&batch)?;
                let mut values = Values::new();
                for (name, part) in &loss.parts {
                    values.insert((*name).to_string(), f64::from(part.to_scalar::<f32>()?));
                }
                let total = f64::from(loss.total.to_scalar::<f32>()?);
                if !total.is_finite() {
                    bail!(
                        "the loss of step {} is {total}; lower optimiser.learning_rate",
                        state.step
                    );
                }
                values.insert("loss".into(), total);
                let gradients = parameters.gradients(&loss.total.backward()?);
                let rate = schedule.rate(state.step + 1);
                values.insert(
                    "gradient_norm".into(),
                    optimiser.step(parameters, &gradients, rate)?,
                );
                values.insert(
                    "logit_scale".into(),
                    limit_scale(parameters, settings.loss.largest_scale)?,
                );
                state.step += 1;
                let seconds = tick.elapsed().as_secs_f64();
                state.seconds += seconds;
                tick = Instant::now();
                let posts = batch.concepts * batch.views;
                let drawn = state.step as f64 * posts as f64;
                let epoch = drawn / data.library.files.len() as f64;
                reporter.tell(&Event::Step {
                    step: state.step,
                    epoch,
                    rate,
                    posts,
                    seconds,
                    waited,
                    values,
                })?;

                let ends = state.step == until;
                let measures = ends || state.step.is_multiple_of(settings.every.evaluation);
                if measures {
                    state.validation =
                        evaluator.measure(objective.clip(), &data.tokenizer, device)?;
                    let values = state.validation.clone();
                    let (step, split) = (state.step, "val".to_string());
                    reporter.tell(&Event::Measured {
                        step,
                        split,
                        values,
                        best: None,
                    })?;
                    write_folder(folder, settings, data, parameters, state)?;
                }
                if measures || state.step.is_multiple_of(settings.every.checkpoint) {
                    let (tensors, optimiser) = (parameters.tensors()?, optimiser.state()?);
                    reporter.tell(&Event::Saved {
                        step: state.step,
                        name: LAST.into(),
                    })?;
                    checkpoint::save(
                        folder,
                        LAST,
                        &Checkpoint {
                            tensors,
                            optimiser,
                            state: state.clone(),
                        },
                    )?;
                    tick = Instant::now();
                }
            }
        }
        reporter.tell(&Event::Finished {
            step: self.state.step,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    fn announce(&self, reporter: &mut Reporter) -> Result<()> {
        reporter.tell(&Event::Started {
            name: "pretrain".into(),
            step: self.state.step,
            steps: self.settings.steps,
            parameters: self.parameters.elements(),
        })?;
        let library = &self.data.library;
        reporter.note(format!(
            "{} drawings of {} emoji concepts and {} of clip art, {} groups",
            library.files.len(),
            library.emoji.len(),
            library.clipart.len(),
            self.data.groups.len()
        ))
    }
}

/// Clamps the logit scale from above, and returns it as a factor.
fn limit_scale(parameters: &Parameters, largest: f64) -> Result<f64> {
    let logarithm = parameters
        .get(LOGIT_SCALE)
        .context("there is no logit_scale")?
        .as_tensor()
        .to_scalar::<f32>()?;
    let limit = largest.ln() as f32;
    if logarithm > limit {
        parameters.set(LOGIT_SCALE, &Tensor::new(limit, &Device::Cpu)?)?;
    }
    Ok(f64::from(logarithm.min(limit)).exp())
}

/// The CLIP as it is now, without the auxiliary classifier.
fn write_folder(
    folder: &Path,
    settings: &PretrainSettings,
    data: &Data,
    parameters: &Parameters,
    state: &State,
) -> Result<()> {
    let mut tensors = parameters.tensors()?;
    tensors.retain(|name, _| !name.starts_with(GROUP));
    let record = Record {
        version: env!("CARGO_PKG_VERSION"),
        step: state.step,
        seconds: state.seconds.round(),
        parameters: tensors.values().map(Tensor::elem_count).sum(),
        emoji_concepts: data.library.emoji.len(),
        clipart_concepts: data.library.clipart.len(),
        drawings: data.library.files.len(),
        validation: &state.validation,
        settings,
    };
    folder::write_weights(folder, &tensors, &record)
}
