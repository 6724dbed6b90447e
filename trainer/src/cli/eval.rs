//! Owns `trainer eval`: the figures of a run on a split, by missing case and for the mix.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use shared::config::Task;

use crate::data::split::Split;
use crate::engine::dataset::Dataset;
use crate::engine::evaluate;
use crate::engine::run::TrainedRun;

/// Measures a run on a split: complete, text missing, image missing, and the mix that the run simulates.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run folder.
    run: PathBuf,
    /// train, val or test. Choose by val; look at test once.
    #[arg(long, default_value = "val")]
    split: Split,
    /// Another value for this evaluation, such as missing.test_ratio=0.9 or data.path=DIR.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print JSON with everything, the confusion matrix too.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand. Without `--set`, the figures are kept in the run folder for the exported model card.
///
/// # Errors
/// If the run or its data cannot be read.
pub fn run(args: &Args, device: &Device) -> Result<()> {
    let trained = TrainedRun::open(&args.run, &args.overrides, device)?;
    let classes = Some(trained.config().classes.as_slice());
    // The threshold of a multi-label task is tuned on the validation posts.
    let tunes = trained.settings.model.task == Task::MultiLabel && args.split != Split::Val;
    let splits = [args.split, Split::Val];
    let data = Dataset::open(
        &trained.settings,
        if tunes { &splits } else { &splits[..1] },
        classes,
        &trained.clip,
        device,
    )?;
    let model = trained.model(device)?;
    let evaluation = evaluate::by_case(&model, &data, args.split, &trained.settings)?;
    if args.overrides.is_empty() {
        trained.save(&evaluation)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
        return Ok(());
    }
    print!("{}{}", evaluation.table(), evaluation.notes());
    for (actual, predicted, posts) in evaluation
        .confusion
        .iter()
        .flat_map(|confusion| confusion.worst(5))
    {
        println!(
            "{posts} posts of {} taken for {}",
            data.classes[actual], data.classes[predicted]
        );
    }
    Ok(())
}
