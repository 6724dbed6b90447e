//! Owns `trainer data`: preparing the project's own data, and looking a data folder over.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::missing::{self, MissingArgs};
use crate::data::check;
use crate::data::prepare::{self, Part};
use crate::settings::{DataSettings, Format, Plots, TestFile};

/// Prepare or check data
#[derive(Debug, Args)]
pub struct DataCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the drawings, nouns and the demo task from what `cargo xtask fetch` got
    Prepare(PrepareArgs),
    /// Look a data folder over: counts, unreadable pictures, duplicates across splits, label balance
    Check(CheckArgs),
    /// Draw the tables that take images and texts away: print them, or write them
    Missing(MissingArgs),
}

#[derive(Debug, Args)]
struct PrepareArgs {
    /// What to make; everything if nothing is named
    parts: Vec<Part>,
    /// The folder that `cargo xtask fetch` filled
    #[arg(long, default_value = "data/sources")]
    sources: PathBuf,
    /// The folder to fill
    #[arg(long, default_value = "data")]
    out: PathBuf,
    /// Seed of the split
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to render on; 0 is all
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The folder
    folder: PathBuf,
    /// Its layout
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The field with the classes, if it is not called label or labels
    #[arg(long)]
    label: Option<String>,
    /// Leave classes with fewer posts out
    #[arg(long, default_value_t = 0)]
    min_posts: usize,
    /// MM-IMDb: which plots of a film are posts
    #[arg(long, value_enum, default_value_t)]
    plots: Plots,
    /// Hateful Memes: which file is tested on
    #[arg(long, value_enum, default_value_t)]
    test_file: TestFile,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If a source or the data is missing or malformed, or, for `check`, if a picture cannot be read.
pub fn run(command: &DataCommand) -> Result<()> {
    match &command.action {
        Action::Prepare(args) => {
            let parts = if args.parts.is_empty() {
                Part::value_variants()
            } else {
                &args.parts
            };
            let options = prepare::Options {
                parts: parts.to_vec(),
                sources: args.sources.clone(),
                out: args.out.clone(),
                seed: args.seed,
                threads: args.threads,
            };
            prepare::run(&options, &|line| println!("{line}"))
        }
        Action::Missing(args) => missing::run(args),
        Action::Check(args) => {
            let settings = DataSettings {
                format: args.format,
                label: args.label.clone(),
                min_posts: args.min_posts,
                plots: args.plots,
                test_file: args.test_file,
                ..DataSettings::default()
            };
            let report = check::check(&args.folder, &settings)?;
            if args.json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{report}");
            }
            if report.is_broken() {
                bail!(
                    "{} cannot be trained on as it is: {} pictures cannot be read",
                    args.folder.display(),
                    report.unreadable.len()
                );
            }
            Ok(())
        }
    }
}
