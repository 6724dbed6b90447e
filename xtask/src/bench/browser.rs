//! Owns `cargo xtask bench browser`: our engine beside onnxruntime-web, in turns in one Chromium.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::models;
use crate::artefacts;
use crate::step::{call, command};
use crate::tools;

/// Where the benchmark's own program is.
const FOLDER: &str = "bench/browser";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Hugging Face CLIP folder; weights may be random, for speed does not depend on them
    #[arg(long)]
    clip: PathBuf,
    /// A Python that can import numpy, onnx, onnxruntime and safetensors
    #[arg(long, default_value = "python3")]
    python: String,
    /// Where bundles and graphs are left, 3 GB for ViT-B/16; what is there is used again
    #[arg(long, default_value = models::FOLDER)]
    models: PathBuf,
    /// Measure only rows whose name holds this: `image none int8 1`, `text, cut dcp f32 2`
    #[arg(long, default_value = "")]
    only: String,
    /// Threads, separated by commas
    #[arg(long, default_value = "1,2")]
    threads: String,
    /// Turns of each side, alternating
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Runs a turn; of texts five times as many
    #[arg(long, default_value_t = 3)]
    iterations: usize,
    /// Our artefact, instead of the one that the page would take: baseline, relaxed, threads
    #[arg(long, default_value = "")]
    variant: String,
    /// Chromium's program, if it is in an unusual place
    #[arg(long)]
    chromium: Option<PathBuf>,
    /// Also put all models through gzip and count the bytes, which takes minutes
    #[arg(long)]
    gzip: bool,
    /// Also write the result here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Makes bundles and graphs of the same weights, builds the worker, and runs both sides.
///
/// # Errors
/// If something is missing or a side fails, or their outputs differ.
pub(crate) fn run(options: &Options) -> Result<()> {
    tools::node()?;
    let chromium = match &options.chromium {
        Some(path) => path.clone(),
        None => tools::chromium()?,
    };
    models::make(&options.models, &options.clip, &options.python)?;
    artefacts::build()?;
    call(
        command(tools::npm(), "ci --no-audit --no-fund --loglevel=error")
            .current_dir(FOLDER)
            // Only playwright-core is used, with the system's Chromium.
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
    )?;
    let mut bench = command("node", "run.mjs");
    bench
        .current_dir(FOLDER)
        .arg("--models")
        .arg(absolute(&options.models)?)
        .arg("--ours")
        .arg(absolute(Path::new(artefacts::FOLDER))?)
        .arg("--chromium")
        .arg(chromium)
        .args(["--only", &options.only, "--threads", &options.threads])
        .args(["--turns", &options.turns.to_string()])
        .args(["--iterations", &options.iterations.to_string()])
        .args(["--variant", &options.variant])
        .args(options.gzip.then_some("--gzip"));
    if let Some(json) = &options.json {
        bench.arg("--json").arg(absolute(json)?);
    }
    call(&mut bench)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no such place: {}", path.display()))
}
