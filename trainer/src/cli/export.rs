//! Owns `trainer export`: from a run to a bundle folder that the browser loads.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use shared::bundle::{self, About, Calibration, Contents, Dtype, Figure};
use shared::head::Background;
use shared::infer::weights::Weights;
use shared::{Case, Modality};

use crate::data::split::Split;
use crate::engine::atomic;
use crate::engine::calibrate::{self, Calibrated};
use crate::engine::dataset;
use crate::engine::drift;
use crate::engine::run::TrainedRun;
use crate::engine::trust;
use crate::metrics::evaluation::Evaluation;

/// Writes a run's best checkpoint as a bundle: manifest, weights, tokeniser and model card.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run folder.
    run: PathBuf,
    /// The bundle's folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How matrices are stored.
    #[arg(long, value_enum, default_value_t)]
    dtype: Storage,
    /// Compare the bundle with the model on this many validation posts, in each case; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 200)]
    drift_posts: usize,
    /// For int8, round so that errors cancel on the inputs that this many training posts give the layers; 0 rounds each
    /// weight to the nearest.
    #[arg(long, value_name = "N", default_value_t = 512)]
    calibration_posts: usize,
    /// Measure how far probabilities can be trusted, and what lets taught classes compete with trained ones, on this
    /// many validation posts in each case; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    trust_posts: usize,
    /// The share of answers called sure that is to be right, between 0 and 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    sure: f64,
    /// Replace the folder if it is a bundle already.
    #[arg(long)]
    force: bool,
    /// The classifier's name; by default output.name of the run's settings.
    #[arg(long)]
    name: Option<String>,
    /// What it does; by default output.description.
    #[arg(long)]
    description: Option<String>,
    /// The licence of the weights; by default output.licence.
    #[arg(long)]
    licence: Option<String>,
}

/// What `--dtype` takes.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Storage {
    /// As trained.
    #[default]
    F32,
    /// Half the size.
    F16,
    /// A quarter of the size, and computed in bytes.
    Int8,
}

/// Runs the subcommand.
///
/// # Errors
/// If the run cannot be read, or the folder exists or cannot be written.
pub fn run(args: &Args) -> Result<()> {
    refuse(&args.out, args.force)?;
    let trained = TrainedRun::open(&args.run, &[], &Device::Cpu)?;
    let evaluations = trained.evaluations()?;
    if evaluations.is_empty() {
        eprintln!(
            "note: the run has no figures for the model card; `trainer eval {}` makes them",
            args.run.display()
        );
    }
    let dtype = match args.dtype {
        Storage::F32 => Dtype::F32,
        Storage::F16 => Dtype::F16,
        Storage::Int8 => Dtype::Int8,
    };
    let mut about = about(args, &trained, &evaluations);
    let rounded = match dtype {
        Dtype::Int8 => rounded(&trained, args.calibration_posts, &mut about),
        Dtype::F32 | Dtype::F16 => Weights::default(),
    };
    let encode =
        |about: About, calibration: Option<Calibration>, background: Option<Background>| {
            bundle::encode(Contents {
                config: trained.config(),
                tensors: &trained.tensors,
                rounded: &rounded,
                images: &trained.clip.preprocessor,
                tokenizer: &trained.clip.tokenizer,
                dtype,
                about,
                calibration,
                background,
            })
        };
    let mut files = encode(about.clone(), None, None)?;
    let (calibration, background) = trusted(args, &trained, &files);
    if args.drift_posts > 0 {
        match drift::measure(&trained, &files, args.drift_posts) {
            Ok(figures) => {
                about.drift = figures;
            }
            Err(error) => eprintln!(
                "note: what storing the weights this way changed was not measured ({error:#})"
            ),
        }
    }
    files = encode(about, calibration, background)?;
    atomic::write_folder(&args.out, &files)?;
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{}: {} files, {:.2} MB",
        args.out.display(),
        files.len(),
        bytes as f64 / 1e6
    );
    Ok(())
}

/// How far the bundle's probabilities can be trusted, and what it takes to teach it, if there are posts to tell; the
/// terminal is told.
fn trusted(
    args: &Args,
    trained: &TrainedRun,
    files: &[(String, Vec<u8>)],
) -> (Option<Calibration>, Option<Background>) {
    if args.trust_posts == 0 {
        return (None, None);
    }
    match trust::measure(trained, files, args.trust_posts, args.sure) {
        Ok((calibration, background)) => {
            print!("{}", trust::table(&calibration));
            (Some(calibration), background)
        }
        Err(error) => {
            eprintln!("note: how far probabilities can be trusted was not measured ({error:#})");
            (None, None)
        }
    }
}

/// A share between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| {
        format!("{text:?} is no share; give a number from 0 to below 1, such as 0.8")
    })
}

/// The weights that are rounded on posts, if there are any; `about` and the terminal are told.
fn rounded(trained: &TrainedRun, most: usize, about: &mut About) -> Weights {
    if most == 0 {
        return Weights::default();
    }
    let calibrated = calibrate::round(trained, most).unwrap_or_else(|error| {
        eprintln!("note: there are no posts to round weights on ({error:#})");
        Calibrated::default()
    });
    for (modality, posts) in Modality::ALL.into_iter().zip(calibrated.posts) {
        let name = modality.name();
        match posts {
            0 => eprintln!(
                "note: weights of the {name} tower are rounded to the nearest, for no training or validation post with \
                 its side was seen; with posts their errors would cancel"
            ),
            posts => about.made.push(format!(
                "Weights of the {name} tower rounded with error feedback on {posts} posts."
            )),
        }
    }
    calibrated.weights
}

/// Says why the folder cannot be written to, if it cannot.
fn refuse(out: &Path, force: bool) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let is_bundle = out.join(bundle::MANIFEST).exists();
    let is_empty = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    match (is_bundle, is_empty, force) {
        (_, true, _) | (true, _, true) => Ok(()),
        (true, _, false) => bail!("{} is a bundle already; --force replaces it", out.display()),
        (false, ..) => bail!(
            "{} exists and is no bundle; choose another --out",
            out.display()
        ),
    }
}

/// What people want to know: the flags, else the settings, else the folder's name.
fn about(args: &Args, trained: &TrainedRun, evaluations: &[Evaluation]) -> About {
    let settings = &trained.settings;
    let folder = args
        .run
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let text =
        |flag: &Option<String>, setting: &Option<String>| flag.clone().or_else(|| setting.clone());
    let missing = dataset::describe(Split::Train, &settings.missing);
    let (parts, size) = (settings.train.accumulate, settings.train.batch_size);
    let mut made = vec![
        format!(
            "Trained by `trainer train`, version {}, seed {}.",
            env!("CARGO_PKG_VERSION"),
            settings.train.seed
        ),
        format!(
            "{} steps of {parts} x {size} posts, {} epochs.",
            trained.state.step, settings.train.epochs
        ),
        format!("Missing modalities in training: {missing}."),
        format!("CLIP with SHA-256 {}.", trained.state.clip_sha256),
    ];
    made.extend(settings.output.sources.iter().cloned());
    About {
        name: text(&args.name, &settings.output.name)
            .or(folder)
            .unwrap_or_default(),
        description: text(&args.description, &settings.output.description).unwrap_or_default(),
        licence: text(&args.licence, &settings.output.licence).unwrap_or_default(),
        made,
        figures: evaluations.iter().flat_map(figures).collect(),
        drift: Vec::new(),
    }
}

fn figures(evaluation: &Evaluation) -> impl Iterator<Item = Figure> {
    evaluation.rows.iter().flat_map(|row| {
        row.figures.iter().map(|(metric, &value)| Figure {
            split: evaluation.split.clone(),
            case: Case::ALL.into_iter().find(|case| case.name() == row.case),
            metric: metric.clone(),
            value,
            posts: row.posts,
        })
    })
}
