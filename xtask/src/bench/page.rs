//! Owns `cargo xtask bench page`: the built page, served as the demo serves it, as Lighthouse judges it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::page::{self, DIST};
use crate::serve::Server;
use crate::step::{call, command};
use crate::tools;

/// Where the script is that asks Lighthouse.
const FOLDER: &str = "bench/lighthouse";

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also write Lighthouse's own reports, one for a phone and one for a desktop, beside this name
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Builds the page, serves it and has it judged.
///
/// # Errors
/// If something is missing or a score is below 95.
pub(crate) fn run(options: &Options) -> Result<()> {
    tools::node()?;
    let chromium = tools::chromium()?;
    page::build()?;
    tools::node_packages(FOLDER)?;
    let server = Server::bind(Path::new(DIST), 0)?;
    let address = server.address();
    std::thread::spawn(move || server.serve());
    let report = options.report.as_deref().map(std::path::absolute);
    call(
        command("node", "run.mjs")
            .current_dir(FOLDER)
            .arg(address)
            .args(report.transpose()?)
            .env("CHROMIUM", chromium),
    )
}
