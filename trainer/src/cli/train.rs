//! Owns `trainer train`: from settings to a run folder with its best checkpoint and its validation figures.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::engine::device::Choice;
use crate::engine::group::Group;
use crate::engine::interrupt;
use crate::engine::session::Session;
use crate::report::Reporter;
use crate::settings::Settings;

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
pub fn run(args: &Args, choice: Choice) -> Result<()> {
    let (settings, dir) = settle(args)?;
    let (group, device) = Group::join(choice)?;
    let session = Session::open(&settings, &dir, &device)?;
    interrupt::listen()?;
    let reporter = match group.leads() {
        true => Reporter::shown(),
        false => Reporter::silent(),
    };
    let stop = &interrupt::requested;
    let (state, finished) = session.train_together(&group, args.resume, reporter, stop)?;
    if !group.leads() {
        return Ok(());
    }
    if !finished {
        println!(
            "Stopped after step {}. Go on with: trainer train --resume --out {}",
            state.step,
            dir.display()
        );
        return Ok(());
    }
    let evaluation = session.measure()?;
    print!("\n{}{}", evaluation.table(), evaluation.notes());
    if let Some(best) = state.best {
        println!(
            "The best checkpoint, after step {} of {}, was measured.",
            best.step, state.step
        );
    }
    println!(
        "Export it with: trainer export {0} --out {0}/bundle",
        dir.display()
    );
    Ok(())
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
