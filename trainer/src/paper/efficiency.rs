//! Owns figure 5: seconds of a training step and of a test step, head by head and prompt by prompt.
//!
//! All variants take turns on the same posts, run after run, so that a busy machine slows all of them alike.

use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;

use super::cell::Cell;
use super::charts::Drawing;
use super::plan::{DataSet, Plan};
use super::tables::Summary;
use crate::clip_folder;
use crate::data::split::Split;
use crate::engine::adamw::AdamW;
use crate::engine::assembly::Assembly;
use crate::engine::dataset::Dataset;
use crate::engine::source::Sample;
use crate::loss::Objective;
use crate::report::plot::Bars;
use crate::settings::Settings;
use shared::config::ModelConfig;

/// Independent runs (paper, figure 5).
const RUNS: usize = 10;
/// Steps of a run, after one that is not counted.
const STEPS: usize = 3;

/// A variant, ready to step.
struct Bench {
    prompt: String,
    head: String,
    settings: Settings,
    assembly: Assembly,
    /// Seconds a step, run by run: training, testing.
    seconds: [Vec<f64>; 2],
}

/// The drawings of each data set of a plan: training and testing.
///
/// # Errors
/// If data or CLIP cannot be opened, or a step fails.
pub fn measure(plan: &Plan, overrides: &[String], device: &Device) -> Result<Vec<Drawing>> {
    let mut drawings = Vec::new();
    for data in &plan.data {
        let (mut benches, sample) = prepare(plan, data, overrides, device)?;
        for run in 0..RUNS {
            for bench in &mut benches {
                bench.run(&sample, device)?;
            }
            println!("{}: run {} of {RUNS}", data.title, run + 1);
        }
        for (what, place) in [("training", 0), ("testing", 1)] {
            drawings.push(draw(plan, data, &benches, what, place)?);
        }
    }
    Ok(drawings)
}

/// All variants of a data set, and the posts they step on: one batch of the training split with 70 % of both missing.
fn prepare(
    plan: &Plan,
    data: &DataSet,
    overrides: &[String],
    device: &Device,
) -> Result<(Vec<Bench>, Sample)> {
    let mut benches = Vec::new();
    let mut opened = None;
    for prompt in &plan.prompts {
        for head in &plan.heads {
            let cell = Cell {
                data: data.name.clone(),
                prompt: prompt.name.clone(),
                head: head.name.clone(),
                setting: "both-70".parse()?,
                seed: 0,
            };
            let settings = plan.settings(&cell, overrides)?;
            let (clip, posts) = match &opened {
                Some(opened) => opened,
                None => {
                    let clip = clip_folder::load(&settings.model.clip, device)?;
                    let posts = Dataset::open(&settings, &[Split::Train], None, &clip, device)?;
                    opened.insert((clip, posts))
                }
            };
            let config = ModelConfig {
                clip: clip.config.clone(),
                prompt: settings.model.prompt.clone(),
                head: settings.model.head.clone(),
                task: settings.model.task,
                classes: posts.classes.clone(),
            };
            let tuned = settings.model.train_norms_and_projection;
            benches.push(Bench {
                prompt: prompt.name.clone(),
                head: head.name.clone(),
                assembly: Assembly::fresh(&config, &clip.tensors, tuned, 0, device)?,
                settings,
                seconds: [Vec::new(), Vec::new()],
            });
        }
    }
    let ((_, posts), first) = opened
        .as_ref()
        .zip(benches.first())
        .context("the plan has no variants")?;
    let split = posts.simulated(Split::Train, &first.settings.missing, None)?;
    let places: Vec<usize> = (0..first.settings.train.batch_size.min(split.posts.len())).collect();
    Ok((benches, split.sample(&places)?))
}

impl Bench {
    fn run(&mut self, sample: &Sample, device: &Device) -> Result<()> {
        let model = &self.assembly.model;
        let classes = model.config().classes.len();
        let task = self.settings.model.task;
        let objective = Objective::new(
            task,
            self.settings.loss.clone(),
            sample.batch.cases().to_vec(),
        );
        let mut optimiser = AdamW::new(
            &self.assembly.parameters,
            self.settings.train.optimiser,
            |name| !name.contains("bias"),
        );
        let targets = sample.targets(classes, device)?;
        let mut step = || -> Result<()> {
            let outputs = sample.batch.forward(model)?;
            let loss = objective.loss(model.head(), &outputs, &targets, 0.0)?;
            let gradients = self.assembly.parameters.gradients(&loss.total.backward()?);
            // No rate: every run steps from the same values.
            optimiser.step(&self.assembly.parameters, &gradients, 0.0)?;
            device.synchronize()?;
            Ok(())
        };
        step()?;
        let start = Instant::now();
        for _ in 0..STEPS {
            step()?;
        }
        let training = start.elapsed().as_secs_f64() / STEPS as f64;
        let start = Instant::now();
        for _ in 0..STEPS {
            for output in sample.batch.forward(model)? {
                model.logits(&output)?.to_vec2::<f32>()?;
            }
        }
        let testing = start.elapsed().as_secs_f64() / STEPS as f64;
        self.seconds[0].push(training);
        self.seconds[1].push(testing);
        Ok(())
    }
}

fn draw(
    plan: &Plan,
    data: &DataSet,
    benches: &[Bench],
    what: &str,
    place: usize,
) -> Result<Drawing> {
    let mut csv = String::from("prompt,head,runs,mean,sd\n");
    let mut series = Vec::new();
    for head in &plan.heads {
        let mut bars = Vec::new();
        for prompt in &plan.prompts {
            let bench = benches
                .iter()
                .find(|bench| bench.prompt == prompt.name && bench.head == head.name);
            if let Some(summary) = bench.and_then(|bench| Summary::of(&bench.seconds[place])) {
                bars.push((summary.mean, summary.sd));
                csv += &format!(
                    "{},{},{},{:.6},{:.6}\n",
                    prompt.name, head.name, summary.count, summary.mean, summary.sd
                );
            }
        }
        series.push((head.title.clone(), bars));
    }
    let bars = Bars {
        title: format!("{}: {what}, mean of {RUNS} runs", data.title),
        y_label: "seconds a step".into(),
        groups: plan
            .prompts
            .iter()
            .map(|prompt| prompt.title.clone())
            .collect(),
        series,
    };
    Ok(Drawing {
        name: format!("fig5-{}-{what}", data.name),
        svg: bars.svg()?,
        csv,
    })
}
