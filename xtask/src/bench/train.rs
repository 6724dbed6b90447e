//! Owns `cargo xtask bench train`: training steps of ours beside PyTorch's, in turns, on the same weights and posts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::figures::{publish, quantile, round};
use super::models;
use crate::step::{call, command, output};

/// Our side.
const PROGRAM: &str = "target/release/examples/step";
/// Where weights and posts are left.
const FOLDER: &str = "target/bench/train";
/// The first step's loss and gradients may differ by so much, as a part of the largest.
const TOLERANCE: f64 = 1e-3;
/// Losses after that: the optimiser's first steps go by the signs of gradients, of which some are all but zero.
const LATER: f64 = 1e-2;
/// Steps before those that are timed.
const WARM_UP: usize = 1;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Python that can import numpy, safetensors and torch
    #[arg(long, default_value = "python3")]
    python: String,
    /// Threads of both sides
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Posts of a step, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "4,32")]
    batch: Vec<usize>,
    /// Heads, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "dpl,linear")]
    head: Vec<String>,
    /// Percentages of incomplete posts, half of them without text and half without image
    #[arg(long, value_delimiter = ',', default_value = "0,70")]
    missing: Vec<usize>,
    /// Tokens of a text at most, frame included; at least half as many
    #[arg(long, default_value_t = 20)]
    words: usize,
    /// Posts that a side sees in a turn, at least; a step has `batch` of them
    #[arg(long, default_value_t = 40)]
    posts: usize,
    /// What our frozen blocks keep for the backward pass: keep or recompute
    #[arg(long, default_value = "keep")]
    memory: String,
    /// Turns of each side, alternating
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Also write the result here as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a program prints.
#[derive(Deserialize)]
struct Printed {
    losses: Vec<f64>,
    seconds: Vec<f64>,
    peak_bytes: u64,
}

/// What `step compare` prints.
#[derive(Deserialize)]
struct Compared {
    largest_difference: f64,
    of: String,
}

/// One side's turns.
#[derive(Default)]
struct Side {
    seconds: Vec<f64>,
    turns: Vec<f64>,
    losses: Vec<f64>,
    peak: u64,
}

/// One row of the table.
struct Row<'a> {
    head: &'a str,
    batch: usize,
    missing: usize,
}

/// Ours and PyTorch's in turns: what the machine does meanwhile then hits both.
///
/// # Errors
/// If a side cannot be run, or losses or gradients differ.
pub(crate) fn run(options: &Options) -> Result<()> {
    let version = models::require(&options.python, "torch")?;
    models::require(&options.python, "numpy, safetensors")?;
    let build = "build -p trainer --example step --locked --release";
    call(&mut command("cargo", build))?;
    let folder = format!("{FOLDER}-{}", options.words);
    if !PathBuf::from(&folder)
        .join("posts-70.safetensors")
        .is_file()
    {
        let words = options.words.to_string();
        call(command(PROGRAM, "make").args([&folder, &words]))?;
    }
    let ceiling = ceiling(options)?;
    println!(
        "    products of matrices, {} threads: {ceiling:.0} GFLOP/s",
        options.threads
    );
    let mut rows = Vec::new();
    for head in &options.head {
        for &batch in &options.batch {
            for &missing in &options.missing {
                let row = Row {
                    head,
                    batch,
                    missing,
                };
                rows.push(row.measure(options, &folder, ceiling)?);
            }
        }
    }
    let result = json!({
        "what": "training steps, CLIP ViT-B/16, DCP, 101 classes, f32, CPU",
        "threads": options.threads,
        "tokens of a text": [options.words.div_ceil(2), options.words],
        "torch": version,
        "ceiling_gflops": round(ceiling),
        "turns": options.turns,
        "rows": rows,
    });
    publish(&result, options.json.as_deref())
}

impl Row<'_> {
    fn measure(&self, options: &Options, folder: &str, ceiling: f64) -> Result<Value> {
        let mut sides = [Side::default(), Side::default()];
        let files = ["ours", "peer"].map(|side| format!("{folder}/gradients-{side}.safetensors"));
        let steps = options.posts.div_ceil(self.batch);
        let mut gradient = None;
        for turn in 0..options.turns {
            for (place, side) in sides.iter_mut().enumerate() {
                let mut program = match place {
                    0 => self.ours(options, folder, &files[0], turn * steps, steps),
                    _ => self.peer(options, folder, &files[1], turn * steps, steps),
                };
                side.turn(program.env("RAYON_NUM_THREADS", options.threads.to_string()))?;
            }
            if gradient.is_none() {
                let text = output(command(PROGRAM, "compare").args(&files))?;
                let compared: Compared = serde_json::from_str(&text)?;
                if compared.largest_difference > TOLERANCE {
                    bail!(
                        "{}: the gradients of {} differ by {:e} of its largest value",
                        self.name(),
                        compared.of,
                        compared.largest_difference
                    );
                }
                gradient = Some(compared.largest_difference);
            }
        }
        let [ours, peer] = &sides;
        let apart = |every: usize| {
            let losses = ours.losses.iter().zip(&peer.losses).step_by(every);
            losses
                .map(|(a, b)| (a - b).abs() / b.abs())
                .fold(0.0, f64::max)
        };
        let (first, later) = (apart(WARM_UP + steps), apart(1));
        if first > TOLERANCE || later > LATER {
            bail!(
                "{}: losses differ by {first:e} at first, by {later:e} later",
                self.name()
            );
        }
        let ratios: Vec<f64> = peer
            .turns
            .iter()
            .zip(&ours.turns)
            .map(|(peer, ours)| peer / ours)
            .collect();
        let [ratio, lowest, highest] = [0.5, 0.0, 1.0].map(|q| quantile(&ratios, q));
        let [mine, theirs] = [ours, peer].map(|side| quantile(&side.turns, 0.5));
        // The padded work, of which we leave out a part: what a user waits for, as a share of what could be had.
        let share = |seconds: f64| self.operations() / seconds / ceiling / 1e9;
        println!(
            "    {}: ours {mine:.2} s, PyTorch {theirs:.2} s, {ratio:.2} times as fast ({lowest:.2} to {highest:.2}); \
             memory {:.2} of {:.2} GB; {:.0} and {:.0} % of the limit",
            self.name(),
            ours.peak as f64 / 1e9,
            peer.peak as f64 / 1e9,
            100.0 * share(mine),
            100.0 * share(theirs),
        );
        let side = |side: &Side, seconds: f64| {
            json!({
                "seconds_a_step": round(seconds),
                "steps_a_second": round(1.0 / seconds),
                "quartiles": ([0.25, 0.75].map(|q| round(quantile(&side.seconds, q)))),
                "peak_gb": round(side.peak as f64 / 1e9),
                "share_of_limit": round(share(seconds)),
            })
        };
        Ok(json!({
            "head": self.head, "batch": self.batch, "missing_percent": self.missing,
            "ours": side(ours, mine), "torch": side(peer, theirs),
            "times_as_fast": round(ratio),
            "by_turn": ratios.iter().map(|ratio| round(*ratio)).collect::<Vec<_>>(),
            "gradients_differ": gradient, "first_losses_differ": first, "losses_differ": later,
        }))
    }

    fn name(&self) -> String {
        format!(
            "{}, batch {}, {} % incomplete",
            self.head, self.batch, self.missing
        )
    }

    fn ours(
        &self,
        options: &Options,
        folder: &str,
        out: &str,
        first: usize,
        steps: usize,
    ) -> std::process::Command {
        let mut program = command(PROGRAM, "run");
        program.args([folder, out, self.head]);
        program.args([self.batch, self.missing, first, steps, WARM_UP].map(|n| n.to_string()));
        // The rest is what `trainer train` sets for itself (`trainer::cli::environment`).
        program.arg(&options.memory);
        program.envs([("CANDLE_NUM_THREADS", "1"), ("MIMALLOC_PURGE_DELAY", "-1")]);
        program
    }

    fn peer(
        &self,
        options: &Options,
        folder: &str,
        out: &str,
        first: usize,
        steps: usize,
    ) -> std::process::Command {
        let mut program = command(&options.python, "bench/train.py");
        program.args([folder, out, "--head", self.head]);
        for (name, value) in [
            ("--batch", self.batch),
            ("--missing", self.missing),
            ("--first", first),
            ("--steps", steps),
            ("--warm-up", WARM_UP),
            ("--threads", options.threads),
        ] {
            program.args([name, &value.to_string()]);
        }
        program
    }

    /// Operations of the towers' products in a padded step: forward, and backward by the inputs; two for each
    /// multiply-add.
    fn operations(&self) -> f64 {
        let tower = |tokens: f64, width: f64| {
            12.0 * (24.0 * width * width * tokens + 4.0 * tokens * tokens * width)
        };
        let forward = tower(233.0, 768.0) + tower(113.0, 512.0);
        // Attention's backward pass has twice the products of its forward pass.
        let attention = 12.0 * 4.0 * (233.0f64.powi(2) * 768.0 + 113.0f64.powi(2) * 512.0);
        self.batch as f64 * (2.0 * forward + attention)
    }
}

impl Side {
    fn turn(&mut self, program: &mut std::process::Command) -> Result<()> {
        let text = output(program)?;
        let printed: Printed = serde_json::from_str(&text)
            .with_context(|| format!("expected losses and seconds as JSON, got {text:?}"))?;
        // A step's time depends on which of its posts are incomplete: the mean, not the median.
        self.turns
            .push(printed.seconds.iter().sum::<f64>() / printed.seconds.len().max(1) as f64);
        self.seconds.extend(printed.seconds);
        self.losses.extend(printed.losses);
        self.peak = self.peak.max(printed.peak_bytes);
        Ok(())
    }
}

/// The best rate, in 10^9 operations a second, of the towers' largest product on either side.
fn ceiling(options: &Options) -> Result<f64> {
    let threads = options.threads.to_string();
    let ours = output(command(PROGRAM, "product").env("RAYON_NUM_THREADS", &threads))?;
    let script = "import sys, time, torch\n\
        torch.set_num_threads(int(sys.argv[1]))\n\
        x, w = torch.randn(932, 768), torch.randn(3072, 768)\n\
        times = []\n\
        for _ in range(60):\n    begun = time.perf_counter(); x @ w.t(); times.append(time.perf_counter() - begun)\n\
        print(2 * 932 * 768 * 3072 / min(times) / 1e9)\n";
    let theirs = output(command(&options.python, "").args(["-c", script, &threads]))?;
    let number = |text: &str| -> Result<f64> {
        let trimmed = text.trim();
        trimmed
            .parse()
            .with_context(|| format!("expected a rate, got {text:?}"))
    };
    Ok(number(&ours)?.max(number(&theirs)?))
}
