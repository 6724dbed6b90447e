//! Owns `trainer paper`: running the grid of an experiment, cell by cell, and writing its tables and figures.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;

use crate::engine::interrupt;
use crate::paper::cell::Cell;
use crate::paper::known::{self, Experiment, Preset};
use crate::paper::plan::Plan;
use crate::paper::record::Record;
use crate::paper::runner::{Fate, Runner};
use crate::paper::{estimate, outcome::Outcome, pages};

/// Between two looks at a cell that another process is at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Three heads with three prompt methods on three data sets, nine settings each
    Table1,
    /// DCP with the margin alone, and with the contrast between prototypes
    Table2,
    /// DCP with prototypes of both features together, and decomposed
    Table3,
    /// Seconds of a step, head by head
    Fig5,
    /// DCP trained at 70 %, tested at other rates
    Fig6,
    /// DCP under ten simulations of the test posts
    Fig7,
    /// The grid of a plan of your own (--plan), and the page of its results
    Study,
}

/// Reproduces the paper's tables and figures, or runs a study of your own (docs/paper.md)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The table or figure
    what: What,
    /// A data set in its original layout: mm-imdb=DIR, food101=DIR, hateful-memes=DIR
    #[arg(long, value_name = "NAME=DIR")]
    data: Vec<String>,
    /// The CLIP: a Hugging Face folder
    #[arg(long, value_name = "DIR")]
    clip: Option<PathBuf>,
    /// The plan of a study
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "clip"])]
    plan: Option<PathBuf>,
    /// The recipe
    #[arg(long, value_enum, default_value_t)]
    preset: Preset,
    /// Seeds of every cell; by default 0, 1, 2, or what the plan says
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Only cells whose name has one of these in it, such as food101/dcp or -both-70-
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// A setting for every cell, such as train.optimiser.kind=adam
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Processes that share the cells
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The folder of cells, tables and figures
    #[arg(long, default_value = "runs/paper", value_name = "DIR")]
    out: PathBuf,
    /// Print the plan, the cells and an estimate of the time, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: really run so many steps of one cell of each data set, for the estimate
    #[arg(long, default_value_t = 0, value_name = "N")]
    steps: usize,
    /// Write tables and figures of the cells that are finished, and run none
    #[arg(long, conflicts_with = "dry_run")]
    report: bool,
    /// Figures of cells that were finished elsewhere: a cells.csv
    #[arg(long, value_name = "FILE")]
    figures: Vec<PathBuf>,
    /// Where the page of a study goes, its drawings in a folder of the same name beside it
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// One of the processes that --jobs starts
    #[arg(long, hide = true)]
    worker: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// If the plan is wrong, a cell cannot be run, or a file cannot be written.
pub fn run(args: &Args, device: &Device) -> Result<()> {
    let plan = plan(args)?;
    let mut cells = plan.cells(&args.seeds)?;
    cells.retain(|cell| {
        args.only.is_empty() || args.only.iter().any(|part| cell.name().contains(part))
    });
    if cells.is_empty() {
        bail!(
            "no cell's name has {} in it; --dry-run lists them",
            args.only.join(" or ")
        );
    }
    if args.dry_run {
        return dry_run(args, &plan, &cells, device);
    }
    if args.what == What::Fig5 {
        return pages::efficiency(&plan, &args.overrides, &args.out, device);
    }
    if !args.report && !train(args, &plan, &cells, device)? {
        return Ok(());
    }
    if args.worker {
        return Ok(());
    }
    let sources = pages::Sources {
        plan: &plan,
        cells: &cells,
        out: &args.out,
        lists: args.figures.iter().map(PathBuf::as_path).collect(),
    };
    match args.what {
        What::Table1 | What::Table2 | What::Table3 => {
            pages::table(&sources, experiment(args.what)?)
        }
        What::Fig6 => pages::rates(&sources),
        What::Fig7 => pages::simulations(&sources),
        What::Study | What::Fig5 => pages::study(&sources, args.page.as_deref()),
    }
}

fn experiment(what: What) -> Result<Experiment> {
    Ok(match what {
        What::Table1 => Experiment::Table1,
        What::Table2 => Experiment::Table2,
        What::Table3 => Experiment::Table3,
        What::Fig5 => Experiment::Fig5,
        What::Fig6 => Experiment::Fig6,
        What::Fig7 => Experiment::Fig7,
        What::Study => bail!("a study has a plan of its own: give --plan FILE (docs/paper.md)"),
    })
}

fn plan(args: &Args) -> Result<Plan> {
    if let Some(path) = &args.plan {
        return Plan::read(path);
    }
    let experiment = experiment(args.what)?;
    let clip = args
        .clip
        .as_deref()
        .context("no CLIP: give --clip DIR, a Hugging Face folder such as that of openai/clip-vit-base-patch16")?;
    let mut data: Vec<(String, &Path)> = Vec::new();
    for pair in &args.data {
        let (name, folder) = pair.split_once('=').with_context(|| {
            format!("--data {pair}: give NAME=DIR, such as food101=/data/food101")
        })?;
        data.push((name.to_owned(), Path::new(folder)));
    }
    if data.is_empty() {
        bail!(
            "no data set: give --data NAME=DIR at least once, such as --data mm-imdb=/data/mmimdb"
        );
    }
    known::plan(experiment, &data, clip, args.preset)
}

/// Runs the cells; false if it was interrupted.
fn train(args: &Args, plan: &Plan, cells: &[Cell], device: &Device) -> Result<bool> {
    share_cores(args.jobs)?;
    interrupt::listen()?;
    let mut helpers = if args.worker {
        Vec::new()
    } else {
        start_workers(args)?
    };
    let mut runner = Runner::new(plan, &args.out, &args.overrides, device);
    // What another process was at, and did not finish, is looked for once more when all processes have ended.
    for last in [false, true] {
        for (number, cell) in cells.iter().enumerate() {
            let start = Instant::now();
            let mut fate = runner.run(cell, &interrupt::requested)?;
            // Left to a process that is none of ours, such as one that outlived a killed run: tables need its cell too.
            while last && !args.worker && fate == Fate::Elsewhere && !interrupt::requested() {
                std::thread::sleep(LOOK_AGAIN);
                fate = runner.run(cell, &interrupt::requested)?;
            }
            if fate == Fate::Run {
                say(args, plan, cell, number, cells.len(), start)?;
            }
            if fate == Fate::Stopped || interrupt::requested() {
                println!("Stopped. The same command goes on where this one was.");
                return Ok(false);
            }
        }
        if !last {
            for helper in &mut helpers {
                helper.wait().context("a process of --jobs is lost")?;
            }
        }
    }
    Ok(true)
}

/// A line about a cell that was finished now.
fn say(
    args: &Args,
    plan: &Plan,
    cell: &Cell,
    number: usize,
    all: usize,
    start: Instant,
) -> Result<()> {
    let metric = &plan.data_set(&cell.data)?.metric;
    let record = Record::of(cell, &Outcome::load(&Runner::outcome(&args.out, cell))?)?;
    let value = record.figures.get(metric).copied().unwrap_or(f64::NAN);
    println!(
        "[{}/{all}] {}: {metric} {:.1} %, {:.0} s",
        number + 1,
        cell.name(),
        100.0 * value,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Several processes share the cores: each takes its part of them, unless RAYON_NUM_THREADS says otherwise.
fn share_cores(jobs: usize) -> Result<()> {
    if jobs < 2 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return Ok(());
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads((cores / jobs).max(1))
        .build_global()
        .context("the cores cannot be shared among the processes")
}

/// The other processes: this program with the same arguments.
fn start_workers(args: &Args) -> Result<Vec<Child>> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    (1..args.jobs)
        .map(|_| {
            Command::new(&program)
                .args(std::env::args_os().skip(1))
                .arg("--worker")
                .spawn()
                .context("another process cannot be started; --jobs 1 does without")
        })
        .collect()
}

fn dry_run(args: &Args, plan: &Plan, cells: &[Cell], device: &Device) -> Result<()> {
    let runner = Runner::new(plan, &args.out, &args.overrides, device);
    let mut left = Vec::new();
    for cell in cells {
        let done = runner.is_done(cell)?;
        println!("{}{}", cell.name(), if done { "  done" } else { "" });
        if !done {
            left.push(cell.clone());
        }
    }
    println!(
        "\n{} cells, {} of them finished",
        cells.len(),
        cells.len() - left.len()
    );
    estimate::print(plan, &left, &args.overrides, args.steps, args.jobs, device)
}
