//! Owns `trainer train`: from settings to a run folder with its best checkpoint and its validation figures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use shared::config::{HeadConfig, ModelConfig};

use crate::clip_folder;
use crate::data::split::Split;
use crate::engine::assembly::Assembly;
use crate::engine::dataset::Dataset;
use crate::engine::fit::{Fit, LAST};
use crate::engine::run::{self, TrainedRun};
use crate::engine::{atomic, checkpoint, evaluate, interrupt};
use crate::report::{Reporter, log};
use crate::settings::{Initialise, Settings};

/// Trains prompts and head on posts, some of which lack their image or text.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration in TOML (see configs/); without one, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that overrides the configuration's, such as train.rate=0.003.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The run folder; by default output.dir of the configuration.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in the folder, exactly where its last checkpoint is.
    #[arg(long)]
    resume: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// If the settings are wrong, the run exists, data cannot be read, or a file cannot be written.
pub fn run(args: &Args, device: &Device) -> Result<()> {
    let (settings, dir) = settle(args)?;
    let clip = clip_folder::load(&settings.model.clip, device)?;
    let data = Dataset::open(&settings, &[Split::Train, Split::Val], &clip, device)?;
    let config = ModelConfig {
        clip: clip.config.clone(),
        prompt: settings.model.prompt.clone(),
        head: settings.model.head.clone(),
        task: settings.model.task,
        classes: data.classes.clone(),
    };
    let tuned = settings.model.train_norms_and_projection;
    let assembly = Assembly::fresh(&config, &clip.tensors, tuned, settings.train.seed, device)?;
    if !args.resume {
        run::create(&dir, &settings)?;
    }
    atomic::sweep(&dir)?;
    log::to_run(&dir)?;
    let splits = (
        data.simulated(Split::Train, &settings.missing, Some(&dir))?,
        data.simulated(Split::Val, &settings.missing, Some(&dir))?,
    );
    // A run that was killed before its first checkpoint begins anew.
    let resume = args.resume && checkpoint::path(&dir, LAST).exists();
    let means = settings.train.initialise == Initialise::ClassMean
        && matches!(config.head, HeadConfig::Dpl(_));
    if means && !resume {
        let (size, seed) = (settings.train.batch_size, settings.train.seed);
        let start = evaluate::class_means(&assembly.model, &splits.0, size, seed, device)?;
        start
            .iter()
            .try_for_each(|(name, value)| assembly.parameters.set(name, value))?;
    }
    let mut fit = Fit::new(&settings, &dir, &assembly, splits, device)?;
    if resume {
        fit.resume()?;
    }
    let mut reporter = Reporter::for_run(&dir, fit.state().step)?;
    interrupt::listen()?;
    let finished = fit.run(&mut reporter, &interrupt::requested)?;
    if !finished {
        let (step, dir) = (fit.state().step, dir.display());
        println!("Stopped after step {step}. Go on with: trainer train --resume --out {dir}");
        return Ok(());
    }
    report(&dir, &data, device)
}

/// The settings and the run folder; a resumed run has its own, which others on the command line must equal.
fn settle(args: &Args) -> Result<(Settings, PathBuf)> {
    let given = Settings::resolve(args.config.as_deref(), &args.overrides)?;
    let dir = args.out.clone().or_else(|| given.output.dir.clone());
    let dir = dir.context("no run folder: give --out DIR, or output.dir in the configuration")?;
    let mut settings = given;
    if args.resume {
        let own = Settings::of_run(&dir, &[])?;
        let same = Settings {
            output: own.output.clone(),
            ..settings.clone()
        } == own;
        if !same && (args.config.is_some() || !args.overrides.is_empty()) {
            bail!(
                "--resume goes on with the run's own settings, but --config or --set differ from {}; \
                 leave them away, or start a new run in another --out",
                dir.join(crate::settings::FILE).display()
            );
        }
        settings = own;
    } else {
        settings.output.dir = Some(dir.clone());
    }
    Ok((settings, dir))
}

/// Measures the best checkpoint on the validation split by case; prints and saves the figures.
fn report(dir: &Path, data: &Dataset, device: &Device) -> Result<()> {
    let trained = TrainedRun::open(dir, &[], device)?;
    let model = trained.model(device)?;
    let evaluation = evaluate::by_case(&model, data, Split::Val, &trained.settings)?;
    trained.save(&evaluation)?;
    let best = trained
        .state
        .best
        .map(|best| format!(" (best of the run, after step {})", best.step));
    println!(
        "\n{}Mixed is the split with {} missing{}.",
        evaluation.table(),
        evaluation.missing,
        best.unwrap_or_default()
    );
    println!(
        "Export it with: trainer export {0} --out {0}/bundle",
        dir.display()
    );
    Ok(())
}
