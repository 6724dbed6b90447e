//! Owns the project's own commands: `cargo xtask demo`, `test`, and the smaller ones they are made of.

mod artefacts;
mod audit;
mod bench;
mod bom;
mod bundles;
mod cuda;
mod demo;
mod fetch;
mod folders;
mod fuzz;
mod kill;
mod licences;
mod npm;
mod page;
mod release;
mod reproduce;
mod serve;
mod shell;
mod stamp;
mod step;
mod test;
mod tidy;
mod together;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a classifier on open data, build the page, and serve it on this machine
    Demo(demo::Options),
    /// Check everything: format, lints, documentation, tests, WebAssembly, the page in Chromium
    Test(test::Options),
    /// Get the open data that the tiny CLIP and the demo are made of
    Fetch(fetch::FetchArgs),
    /// Build the page into dist/
    BuildWeb,
    /// List the bundles and files of a built page, as building it does last and as a change of dist/ by hand needs
    Lists {
        /// The built page; otherwise the one that Trunk is building, or dist
        page: Option<PathBuf>,
    },
    /// Build the worker's artefacts, as building the page does first
    Workers,
    /// Build the npm package into target/npm
    Npm,
    /// Build the page a second time from a copy of the sources, and compare every file
    Reproduce(reproduce::Options),
    /// Serve a folder on this machine, as the demo does
    Serve(serve::Options),
    /// Build the trainer for CUDA, and get the toolkit first where none is installed; no GPU is needed for that
    Cuda(cuda::Options),
    /// Check the sources for what the compiler does not: file docs, sizes, hosts, machine paths
    Tidy,
    /// Kill the programs at random moments, fill their disks, make calls fail, and hold what they leave against undisturbed runs
    Kill(kill::Options),
    /// Check the licences, sources and known weaknesses of everything we depend on
    Audit(audit::Options),
    /// Gather what is given to others, with bills of materials and checksums; nothing is sent anywhere
    Release(release::Options),
    /// Try to break every reader of strangers' files, with libFuzzer
    Fuzz(fuzz::Options),
    /// Measure our speed beside a peer's in the same run
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain on one line, without the backtrace that `Result` from `main` would add.
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&root)
        .with_context(|| format!("cannot work in the project's folder {}", root.display()))?;
    match command {
        Command::Demo(options) => demo::run(options),
        Command::Test(options) => test::run(options),
        Command::Fetch(options) => fetch::run(options),
        Command::BuildWeb => page::build(),
        Command::Lists { page } => {
            let building = || std::env::var_os("TRUNK_STAGING_DIR").map(PathBuf::from);
            let page = page.clone().or_else(building);
            bundles::list(&page.unwrap_or_else(|| page::DIST.into()))
        }
        Command::Workers => artefacts::build(),
        Command::Npm => {
            println!("    {}", npm::build()?.display());
            Ok(())
        }
        Command::Reproduce(options) => reproduce::run(options),
        Command::Serve(options) => serve::run(options),
        Command::Cuda(options) => cuda::run(options),
        Command::Tidy => tidy::run(),
        Command::Kill(options) => kill::run(options),
        Command::Audit(options) => audit::run(options),
        Command::Release(options) => release::run(options),
        Command::Fuzz(options) => fuzz::run(options),
        Command::Bench(options) => bench::run(options),
    }
}
