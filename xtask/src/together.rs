//! Owns the check that two processes, started by MPI's own launcher, train as one does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::step::{call, command, output};

/// Where the runs go.
const FOLDER: &str = "target/together";
/// A run of a few seconds.
const SETTINGS: &str = "data.format=synthetic train.epochs=2 train.batch_size=8 model.clip=assets/clip-tiny \
                        model.prompt.length=6 model.prompt.depth=2 model.prompt.reduction=4";
/// Sums of two halves are rounded otherwise than the sum of all.
const TOLERANCE: f64 = 1e-4;

/// What is missing for this, if something is.
pub(crate) fn missing() -> Option<&'static str> {
    let there = |program: &str| output(&mut command(program, "--version")).is_ok();
    // The binding to MPI is made from its headers by clang's library.
    (!there("mpicc") || !there("mpirun") || !there("clang")).then_some(
        "for want of mpicc, mpirun or clang (Debian: libopenmpi-dev, openmpi-bin, clang, libclang-dev)",
    )
}

/// Trains by one process and by two, and compares what they say.
///
/// # Errors
/// If a process fails, or the losses differ.
pub(crate) fn run() -> Result<()> {
    let build = "build -p trainer --features mpi --locked";
    call(&mut command("cargo", build))?;
    fs::create_dir_all(FOLDER)?;
    // A copy: the next build without MPI takes the place of this one.
    let trainer = Path::new(FOLDER).join("trainer");
    fs::copy("target/debug/trainer", &trainer).context("the trainer was not built")?;
    let mut one = Command::new(&trainer);
    let mut two = command("mpirun", "--oversubscribe -np 2");
    // Elsewhere root may not start it; on a build machine there is nobody else.
    two.env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .arg(&trainer);
    let expected = losses(&mut one, "one")?;
    let found = losses(&mut two, "two")?;
    ensure!(
        expected.len() == found.len() && !found.is_empty(),
        "one process made {} steps, two made {}",
        expected.len(),
        found.len()
    );
    let apart = expected.iter().zip(&found);
    let apart = apart.map(|(one, two)| ((one - two) / one).abs());
    let worst = apart.fold(0.0, f64::max);
    println!(
        "    {} steps; losses differ by at most {worst:.1e}",
        found.len()
    );
    ensure!(
        worst < TOLERANCE,
        "the losses of two processes differ by {worst:e}"
    );
    Ok(())
}

/// The losses of a run's steps.
fn losses(train: &mut Command, name: &str) -> Result<Vec<f64>> {
    let run = Path::new(FOLDER).join(name);
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    train.arg("train").arg("--out").arg(&run);
    for setting in SETTINGS.split_whitespace() {
        train.args(["--set", setting]);
    }
    call(train)?;
    let lines = fs::read_to_string(run.join("metrics.jsonl"))?;
    let mut losses = Vec::new();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "step" {
            losses.push(
                event["values"]["loss"]
                    .as_f64()
                    .context("a step without a loss")?,
            );
        }
    }
    Ok(losses)
}
