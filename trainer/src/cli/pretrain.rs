//! Owns `trainer pretrain`: a small CLIP from scratch.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use clap::Args;

use crate::pretrain::session::Session;
use crate::pretrain::settings::PretrainSettings;
use crate::report::{Reporter, log};
use crate::settings::{FILE, layers};

/// Trains a small CLIP from scratch by contrastive loss and writes a Hugging Face CLIP folder.
#[derive(Args, Debug)]
pub struct PretrainArgs {
    /// Configuration in TOML; without one, the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the run, and of the CLIP it leaves.
    #[arg(long)]
    out: PathBuf,
    /// Settings that override the configuration's.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on with the run in the folder, with its own settings.
    #[arg(long)]
    resume: bool,
    /// Stop after this step, to go on another time.
    #[arg(long, value_name = "STEP")]
    until: Option<usize>,
}

/// Runs the subcommand on a device.
///
/// # Errors
/// If the settings are wrong, data is missing, or a file cannot be written.
pub fn run(args: &PretrainArgs, device: &Device) -> Result<()> {
    let saved = args.out.join(FILE);
    let file = if args.resume {
        Some(saved.as_path())
    } else {
        args.config.as_deref()
    };
    let settings: PretrainSettings = layers::resolve(file, &args.overrides)?;
    let mut session = if args.resume {
        Session::resume(settings, &args.out, device)?
    } else {
        Session::start(settings, &args.out, device)?
    };
    log::to_run(&args.out)?;
    let mut reporter = Reporter::for_run(&args.out, session.step())?;
    session.run(args.until.unwrap_or(usize::MAX), &mut reporter)
}
