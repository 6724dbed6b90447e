//! Owns `cargo xtask bench native`: our image tower beside ONNX Runtime's and PyTorch's, in turns.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::figures::{publish, quantile, round};
use super::models;
use crate::step::{call, command, output};

/// Runs before those that are timed.
const WARM_UP: usize = 3;
/// Outputs in f32 may differ by rounding alone, as a part of the largest value.
const TOLERANCE: f64 = 1e-3;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Hugging Face CLIP folder; weights may be random, for speed does not depend on them
    #[arg(long)]
    clip: PathBuf,
    /// A Python that can import numpy, onnx, onnxruntime, safetensors and torch
    #[arg(long, default_value = "python3")]
    python: String,
    /// Where bundles and graphs are left; the benchmark in the browser uses the same
    #[arg(long, default_value = models::FOLDER)]
    models: PathBuf,
    /// Threads of every side, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Timed runs a turn
    #[arg(long, default_value_t = 10)]
    iterations: usize,
    /// Turns of each side, alternating
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Cargo's profile; with dev we take twice as long or more, so it is for trying the benchmark only
    #[arg(long, default_value = "release")]
    profile: String,
    /// Also write the result here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a program prints.
#[derive(Deserialize)]
struct Printed {
    times: Vec<f64>,
    #[serde(default)]
    features: Vec<f64>,
}

/// One side of a comparison.
struct Side {
    name: &'static str,
    program: String,
    arguments: Vec<String>,
    times: Vec<f64>,
    turns: Vec<f64>,
    features: Vec<f64>,
}

/// Ours and each peer in turns: what the machine does meanwhile then hits all.
///
/// # Errors
/// If a side cannot be run, or outputs in f32 differ.
pub(crate) fn run(options: &Options) -> Result<()> {
    let versions = models::require(&options.python, "onnxruntime, torch")?;
    models::make(&options.models, &options.clip, &options.python)?;
    let profile = options.profile.as_str();
    let build = format!("build -p trainer --example tower --locked --profile {profile}");
    call(&mut command("cargo", &build))?;
    let mut rows = Vec::new();
    let mut exact = Vec::new();
    for (dtype, graphs) in [("f32", &["onnx"][..]), ("int8", &["u8.onnx", "s8.onnx"])] {
        for &threads in &options.threads {
            let mut sides = sides(options, dtype, graphs, threads);
            for _ in 0..options.turns {
                for side in &mut sides {
                    side.turn(threads)?;
                }
            }
            if dtype == "f32" && exact.is_empty() {
                exact = sides.iter().map(|side| side.features.clone()).collect();
            }
            rows.push(row(dtype, threads, &sides, exact.get(1))?);
        }
    }
    let result = json!({
        "what": "image tower, no prompts, batch 1, CPU",
        "profile": profile,
        "versions of onnxruntime and torch": versions,
        "turns": options.turns,
        "iterations": options.iterations,
        "rows": rows,
    });
    publish(&result, options.json.as_deref())
}

/// Ours first, then the peers.
fn sides(options: &Options, dtype: &str, graphs: &[&'static str], threads: usize) -> Vec<Side> {
    let folder = match options.profile.as_str() {
        "dev" => "debug",
        other => other,
    };
    let path = |name: &str| options.models.join(name).display().to_string();
    let side = |name, program: &str, arguments: Vec<String>| Side {
        name,
        program: program.to_owned(),
        arguments,
        times: Vec::new(),
        turns: Vec::new(),
        features: Vec::new(),
    };
    let counts = [options.iterations.to_string(), WARM_UP.to_string()];
    let ours = [&counts[..], &[path(&format!("none-{dtype}"))]].concat();
    let mut all = vec![side(
        "Lacuna",
        &format!("target/{folder}/examples/tower"),
        ours,
    )];
    let script = |name: &str| -> Vec<String> {
        let before = [format!("bench/{name}")];
        [&before[..], &counts, &[threads.to_string()]].concat()
    };
    for &ending in graphs {
        let name = match ending {
            "onnx" => "ONNX Runtime",
            "u8.onnx" => "ONNX Runtime, unsigned weights",
            _ => "ONNX Runtime, signed weights",
        };
        let mut arguments = script("onnx_tower.py");
        arguments.push(path(&format!("none-onnx/image.{ending}")));
        all.push(side(name, &options.python, arguments));
    }
    if dtype == "f32" {
        all.push(side("PyTorch", &options.python, script("tower.py")));
    }
    all
}

impl Side {
    /// Runs the program once.
    fn turn(&mut self, threads: usize) -> Result<()> {
        let mut program = command(&self.program, "");
        program.args(&self.arguments);
        let text = output(program.env("RAYON_NUM_THREADS", threads.to_string()))?;
        let printed: Printed = serde_json::from_str(&text)
            .with_context(|| format!("expected times as JSON, got {text:?}"))?;
        self.turns.push(quantile(&printed.times, 0.5));
        self.times.extend(printed.times);
        self.features = printed.features;
        Ok(())
    }
}

/// The comparison of the first side with each other, said and as JSON. `exact` are a peer's features in f32.
fn row(dtype: &str, threads: usize, sides: &[Side], exact: Option<&Vec<f64>>) -> Result<Value> {
    let mut found = Vec::new();
    for side in sides {
        let median = quantile(&side.times, 0.5);
        let mine = sides.iter().take(1).flat_map(|side| &side.turns);
        let ratios: Vec<f64> = side.turns.iter().zip(mine).map(|(a, b)| a / b).collect();
        let likeness = exact.and_then(|exact| likeness(&side.features, exact));
        let [ratio, lowest, highest] = [0.5, 0.0, 1.0].map(|q| quantile(&ratios, q));
        println!(
            "    {dtype}, threads {threads}: {:<31} {median:7.1} ms, {ratio:.2} of ours ({lowest:.2} to {highest:.2})",
            side.name
        );
        if let (Some([cosine, difference]), "f32") = (likeness, dtype)
            && (cosine.is_nan() || difference > TOLERANCE)
        {
            bail!(
                "{}: outputs in f32 differ by {difference:e} of the largest value",
                side.name
            );
        }
        found.push(json!({
            "side": side.name,
            "ms": round(median),
            "quartiles_ms": ([0.25, 0.75].map(|q| round(quantile(&side.times, q)))),
            "times_ours": round(ratio),
            "times_ours_by_turn": ratios.iter().map(|ratio| round(*ratio)).collect::<Vec<_>>(),
            "cosine_to_f32": likeness.map(|[cosine, _]| cosine),
            "difference_to_f32": likeness.map(|[_, difference]| difference),
        }));
    }
    Ok(json!({ "weights": dtype, "threads": threads, "sides": found }))
}

/// The cosine of two vectors, and their largest difference as a part of the second one's largest value; nothing if they
/// are not of one size.
fn likeness(a: &[f64], b: &[f64]) -> Option<[f64; 2]> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let largest = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).fold(0.0, f64::max);
    let worst = largest(&mut a.iter().zip(b).map(|(a, b)| a - b));
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    Some([cosine, worst / largest(&mut b.iter().copied())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness_knows_direction_and_the_worst_value() {
        assert_eq!(likeness(&[1.0, 0.0], &[1.0, 0.0]), Some([1.0, 0.0]));
        assert_eq!(likeness(&[1.0, 0.0], &[0.0, 2.0]), Some([0.0, 1.0]));
        assert_eq!(likeness(&[1.0], &[]), None);
    }
}
