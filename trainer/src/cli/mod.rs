//! Owns the command line: one file a subcommand, errors as a chain of sentences, exit codes.
//!
//! 0: done; 1: something failed, said on stderr; 2: the command line is wrong; 130: interrupted twice.

pub mod data;
pub mod doctor;
pub mod embed;
mod environment;
pub mod eval;
pub mod export;
pub mod inspect;
mod missing;
pub mod paper;
pub mod predict;
pub mod pretrain;
pub mod tokenize;
pub mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::engine::device::{self, Choice};
use crate::report::log;

/// Trains classifiers for posts whose image or text may be missing, and exports them for the browser.
#[derive(Parser, Debug)]
#[command(name = "trainer", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where to compute.
    #[arg(long, global = true, value_enum, default_value_t)]
    device: Choice,
    /// Show the log on the screen too, not only in the run folder.
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Predict(predict::Args),
    Export(export::Args),
    Inspect(inspect::Args),
    Pretrain(pretrain::PretrainArgs),
    Embed(embed::EmbedArgs),
    Tokenize(tokenize::TokenizeArgs),
    Data(data::DataCommand),
    Paper(paper::Args),
    Doctor(doctor::Args),
}

/// The whole program: parses, runs, says what went wrong.
pub fn main() -> ExitCode {
    environment::settle();
    let cli = Cli::parse();
    log::start(cli.verbose);
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has gone (`trainer predict .. | head`): nothing to say, nobody to say it to.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::info!("failed: {error:#}");
            eprintln!("error: {error:#}");
            if let Some(advice) = way_out(&error) {
                eprintln!("{advice}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    let device = || device::open(cli.device, 0);
    match cli.command {
        Command::Train(args) => train::run(&args, cli.device),
        Command::Eval(args) => eval::run(&args, &device()?),
        Command::Predict(args) => predict::run(&args, &device()?),
        Command::Export(args) => export::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pretrain(args) => pretrain::run(&args, &device()?),
        Command::Embed(args) => embed::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Data(command) => data::run(&command),
        Command::Paper(args) => paper::run(&args, &device()?),
        Command::Doctor(args) => doctor::run(&args),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What to do about a disk that is full or broken.
fn way_out(error: &anyhow::Error) -> Option<&'static str> {
    use std::io::{Error, ErrorKind};
    let advice = |error: &Error| match (error.kind(), error.raw_os_error()) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => Some(
            "Make room there and start the command again; `train` and `pretrain` go on with --resume.",
        ),
        // EIO on every Unix.
        (_, Some(5)) if cfg!(unix) => Some(
            "The disk reports an error: look into the system's log before you rely on it, then start the command again; \
             `train` and `pretrain` go on with --resume.",
        ),
        _ => None,
    };
    let errors = error.chain().filter_map(|cause| cause.downcast_ref());
    errors.into_iter().find_map(advice)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
