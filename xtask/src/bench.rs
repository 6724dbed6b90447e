//! Owns `cargo xtask bench`: our speed beside a peer's, alternating in one run on one machine, with the ratio.

mod browser;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::stamp;
use crate::step::{call, command, output};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The image tower of CLIP ViT-B/16, f32, batch 1, on the CPU, beside PyTorch
    Native(NativeOptions),
    /// CLIP's towers in Chromium, f32 and 8 bits, beside onnxruntime-web
    Browser(browser::Options),
}

#[derive(clap::Args)]
struct NativeOptions {
    /// A Python that can import torch
    #[arg(long, default_value = "python3")]
    python: String,
    /// Threads for either side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Timed runs a turn
    #[arg(long, default_value_t = 20)]
    iterations: usize,
    /// Turns of each side, alternating
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Cargo's profile; dev optimises the model too, and may be built already
    #[arg(long, default_value = "release")]
    profile: String,
    /// Also write the result here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs one benchmark.
///
/// # Errors
/// If the peer is not installed or a side fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Native(options) => native(options),
        What::Browser(options) => browser::run(options),
    }
}

/// Ours and PyTorch's tower in turns: what the machine does meanwhile then hits both.
fn native(options: &NativeOptions) -> Result<()> {
    let python = options.python.as_str();
    let version = output(command(python, "-c").arg("import torch; print(torch.__version__)")).with_context(|| {
        format!(
            "{python} cannot import torch; `python3 -m venv data/python && data/python/bin/pip install torch` gets it, \
             then add --python data/python/bin/python"
        )
    })?;
    let profile = options.profile.as_str();
    let build = format!("build -p trainer --example tower --locked --profile {profile}");
    call(&mut command("cargo", &build))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let ours = format!("target/{folder}/examples/tower");

    let counts = format!("{} 5", options.iterations);
    let (mut lacuna, mut torch) = (Vec::new(), Vec::new());
    for turn in 1..=options.turns {
        let threads = options.threads.to_string();
        let mine = times(command(&ours, &counts).env("RAYON_NUM_THREADS", &threads))?;
        let theirs = times(&mut command(
            python,
            &format!("bench/tower.py {counts} {threads}"),
        ))?;
        let (a, b) = (median(&mine), median(&theirs));
        println!("    turn {turn}: Lacuna {a:.1} ms, PyTorch {b:.1} ms");
        lacuna.extend(mine);
        torch.extend(theirs);
    }
    let (a, b) = (median(&lacuna), median(&torch));
    let result = serde_json::json!({
        "what": "image tower of CLIP ViT-B/16, 224 px, batch 1, f32, CPU",
        "threads": options.threads,
        "profile": profile,
        "runs": lacuna.len(),
        "lacuna_ms": round(a),
        "pytorch_ms": round(b),
        "pytorch_version": version,
        "pytorch_over_lacuna": round(b / a),
    });
    let text = serde_json::to_string_pretty(&result)?;
    println!("{text}");
    match &options.json {
        Some(path) => stamp::write(path, format!("{text}\n").as_bytes()),
        None => Ok(()),
    }
}

/// Runs one side and reads the milliseconds it prints.
fn times(command: &mut std::process::Command) -> Result<Vec<f64>> {
    let text = output(command)?;
    serde_json::from_str(&text)
        .with_context(|| format!("expected milliseconds as JSON, got {text:?}"))
}

/// The middle value; NaN of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (middle(half.saturating_sub(1)) + middle(half)) / 2.0
    } else {
        middle(half)
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
