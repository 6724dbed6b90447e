//! Owns `cargo xtask kill`: the reliability tests with as many kills and faults as are asked for.

use anyhow::Result;

use crate::step::{call, command};

/// How many disturbances.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many times a program is killed
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Decides the moments of kills and the places of faults; printed, so that a failure can be repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many times a call that writes, syncs or renames fails, or is a program's last
    #[arg(long, default_value_t = 200)]
    faults: usize,
}

/// Kills programs, fills disks, injects faults (docs/reliability.md).
///
/// # Errors
/// If a program lost more than time.
pub(crate) fn run(options: &Options) -> Result<()> {
    // One after the other: what is measured of one would be disturbed by the next.
    let arguments =
        "test -p tests --test suite --locked reliability -- --nocapture --test-threads 1";
    call(
        command("cargo", arguments)
            .env("LACUNA_KILLS", options.kills.to_string())
            .env("LACUNA_SEED", options.seed.to_string())
            .env("LACUNA_FAULTS", options.faults.to_string())
            .env("LACUNA_DISKS", "5"),
    )
}
