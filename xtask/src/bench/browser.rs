//! Owns `cargo xtask bench browser`: our engine beside onnxruntime-web, in turns in one Chromium.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::artefacts;
use crate::step::{call, command, output};
use crate::tools;

/// Where the benchmark's own program is.
const FOLDER: &str = "bench/browser";
/// Tokens of the text that is measured, frame included: a caption as people write them.
const WORDS: &str = "8";

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
    #[arg(long, default_value = "target/bench")]
    models: PathBuf,
    /// Measure only rows whose name holds this: `image none int8 1`
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
    /// Also write the result here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Makes bundles and graphs of the same weights, builds the worker, and runs both sides.
///
/// # Errors
/// If something is missing or a side fails, or their outputs differ.
pub(crate) fn run(options: &Options) -> Result<()> {
    let python = options.python.as_str();
    output(command(python, "-c").arg("import numpy, onnx, onnxruntime, safetensors")).with_context(|| {
        format!(
            "{python} lacks a package; `python3 -m venv data/python && data/python/bin/pip install numpy onnx onnxruntime \
             safetensors` gets them, then add --python data/python/bin/python"
        )
    })?;
    if !options.clip.join("config.json").is_file() {
        bail!(
            "{} is no CLIP folder: it has no config.json",
            options.clip.display()
        );
    }
    models(options)?;
    artefacts::build()?;
    call(command(tools::npm(), "ci --no-audit --no-fund").current_dir(FOLDER))?;
    let mut bench = command("node", "run.mjs");
    bench
        .current_dir(FOLDER)
        .arg("--models")
        .arg(absolute(&options.models)?)
        .arg("--ours")
        .arg(absolute(Path::new(artefacts::FOLDER))?)
        .args(["--only", &options.only, "--threads", &options.threads])
        .args(["--turns", &options.turns.to_string()])
        .args(["--iterations", &options.iterations.to_string()])
        .env("CHROMIUM", tools::chromium()?);
    if let Some(json) = &options.json {
        bench.arg("--json").arg(absolute(json)?);
    }
    call(&mut bench)
}

/// Bundles with and without prompts, in both dtypes, and the graphs of the same weights.
fn models(options: &Options) -> Result<()> {
    call(&mut command(
        "cargo",
        "build -p trainer --example bench_bundle --locked",
    ))?;
    for prompt in ["none", "dcp"] {
        for dtype in ["f32", "int8"] {
            let out = options.models.join(format!("{prompt}-{dtype}"));
            if !out.join("manifest.json").is_file() {
                let mut make = command("target/debug/examples/bench_bundle", "");
                call(make.arg(&options.clip).arg(&out).args([prompt, dtype]))?;
            }
        }
        let graphs = options.models.join(format!("{prompt}-onnx"));
        if !graphs.join("text.q8.onnx").is_file() {
            let mut make = command(&options.python, "bench/make_onnx.py");
            make.arg(options.models.join(format!("{prompt}-f32")));
            call(make.arg(&graphs).arg(WORDS))?;
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no such place: {}", path.display()))
}
