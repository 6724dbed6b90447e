//! Owns `trainer data missing`: the tables that take modalities away, printed or written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::data::format::jsonl;
use crate::data::missing::{Drawn, Recipe};
use crate::data::record;
use crate::data::split::Split;
use crate::settings::{MissingKind, MissingRng};

/// How many of the drawn rows are printed.
const SHOWN: usize = 5;

#[derive(Debug, Args)]
pub(super) struct MissingArgs {
    /// What is taken away
    #[arg(long, value_enum, default_value_t)]
    kind: MissingKind,
    /// Share of the rows that lose something, 0 to 1
    #[arg(long, default_value_t = 0.7)]
    ratio: f64,
    /// Of those, with --kind both, the share that loses the image
    #[arg(long, default_value_t = 0.5)]
    both_ratio: f64,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The generator; cpython draws the reference code's tables, train, val and test from one stream
    #[arg(long, value_enum, default_value_t)]
    rng: MissingRng,
    /// Rows of each split, such as train=15552,val=2608,test=7799
    #[arg(long, value_delimiter = ',', value_name = "SPLIT=ROWS")]
    rows: Vec<String>,
    /// Instead: a folder with data.jsonl, whose splits are counted
    #[arg(long, conflicts_with = "rows", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the tables into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What the files' names begin with
    #[arg(long, default_value = "data")]
    name: String,
}

/// Prints the tables of all splits that have rows, and writes them if asked to.
///
/// # Errors
/// If a share or a split is impossible, the data cannot be read, or a file cannot be written.
pub(super) fn run(args: &MissingArgs) -> Result<()> {
    let rows = match &args.data {
        Some(folder) => counted(folder)?,
        None => given(&args.rows)?,
    };
    let recipe = Recipe {
        kind: args.kind,
        ratio: args.ratio,
        both_ratio: args.both_ratio,
        seed: args.seed,
        rng: args.rng,
    };
    let drawn = Recipe::draw_all(&[recipe; 3], rows)?;
    for (split, Drawn { table, sampled }) in Split::ALL.into_iter().zip(drawn) {
        if table.cases.is_empty() {
            continue;
        }
        let first: Vec<String> = sampled.iter().take(SHOWN).map(usize::to_string).collect();
        let [complete, text_missing, image_missing] = table.counts();
        println!(
            "{split}: {} rows, first sampled {}; {complete} complete, {text_missing} text missing, {image_missing} image \
             missing; sha256 {}",
            table.cases.len(),
            first.join(" "),
            table.sha256()
        );
        if let Some(folder) = &args.out {
            let path = folder.join(table.file_name(&format!("{}_{split}", args.name)));
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            table.load_or_save(&path)?;
            println!("  {}", path.display());
        }
    }
    Ok(())
}

fn counted(folder: &Path) -> Result<[usize; 3]> {
    let posts = jsonl::read(folder)?;
    Ok(Split::ALL.map(|split| record::rows(&record::of_split(&posts, split, None))))
}

fn given(pairs: &[String]) -> Result<[usize; 3]> {
    if pairs.is_empty() {
        bail!("no rows: give --rows train=N,val=N,test=N, or --data DIR to have them counted");
    }
    let mut rows = [0; 3];
    for pair in pairs {
        let (split, count) = pair
            .split_once('=')
            .with_context(|| format!("--rows {pair}: give SPLIT=ROWS, such as train=15552"))?;
        let split: Split = split
            .parse()
            .map_err(|error| anyhow::anyhow!("--rows {pair}: {error}"))?;
        rows[split as usize] = count
            .parse()
            .ok()
            .filter(|count| u32::try_from(*count).is_ok())
            .with_context(|| format!("--rows {pair}: {count:?} is no number of rows"))?;
    }
    Ok(rows)
}
