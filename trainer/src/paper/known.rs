//! Owns the plans of the paper's own experiments: its three data sets, prompt methods and heads, and the two recipes.

use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::cell::SETTINGS;
use super::plan::{DataSet, Part, Plan, Variant};

/// A recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The reference code's: prompts of 36 rows in 6 blocks, micro-batches of 4, 64 of them a step, 20 epochs.
    #[default]
    Paper,
    /// For a small CLIP on a small machine: prompts of 12 rows in 2 blocks, batches of 64, 6 epochs.
    Small,
}

/// An experiment of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Experiment {
    /// Three heads with three prompt methods on three data sets, nine settings each.
    Table1,
    /// DCP with the margin alone, and with the contrast between prototypes.
    Table2,
    /// DCP with prototypes of both features together, and decomposed.
    Table3,
    /// Seconds of a step, head by head.
    Fig5,
    /// DCP trained at 70 %, tested at other rates.
    Fig6,
    /// DCP under ten simulations of the test posts.
    Fig7,
}

fn variant(name: &str, title: &str, overrides: &[&str]) -> Variant {
    Variant {
        name: name.into(),
        title: title.into(),
        overrides: overrides.iter().map(|pair| (*pair).to_owned()).collect(),
    }
}

/// MaPLe, MAP and DCP of these sizes.
pub fn prompts(preset: Preset) -> Vec<Variant> {
    let (length, depth) = match preset {
        Preset::Paper => (36, 6),
        Preset::Small => (12, 2),
    };
    let of = |name: &str, title: &str| {
        let [method, length, depth] = [
            format!("model.prompt.method={name}"),
            format!("model.prompt.length={length}"),
            format!("model.prompt.depth={depth}"),
        ];
        variant(name, title, &[&method, &length, &depth])
    };
    vec![of("maple", "MaPLe"), of("map", "MAP"), of("dcp", "DCP")]
}

/// The paper's three heads, and those of its ablations.
pub fn heads(experiment: Experiment) -> Vec<Variant> {
    let linear = variant("linear", "Default", &["model.head.method=linear"]);
    let dept = variant("dept", "DePT", &["model.head.method=dept"]);
    let dpl = variant("dpl", "DPL", &["model.head.method=dpl"]);
    let margin = variant(
        "arcface",
        "ArcFace only",
        &["model.head.method=dpl", "loss.contrast=0"],
    );
    let joint = variant(
        "joint",
        "un-decomposed",
        &["model.head.method=dpl", "model.head.decomposed=false"],
    );
    match experiment {
        Experiment::Table2 => vec![margin, dpl],
        Experiment::Table3 => vec![joint, dpl],
        _ => vec![linear, dept, dpl],
    }
}

/// One of the paper's data sets in its original layout.
///
/// # Errors
/// If the paper has none of this name.
pub fn data_set(name: &str, folder: &Path, clip: &Path) -> Result<DataSet> {
    let multi_class = ["model.task=multi_class", "loss.margin=[0.2, 0.2, 0.2]"];
    let (title, format, metric, every, own): (_, _, _, _, &[&str]) = match name {
        "mm-imdb" => (
            "MM-IMDb",
            "mm_imdb",
            "f1_macro",
            0.2,
            &["model.task=multi_label", "loss.margin=[0.1, 0.1, 0.1]"],
        ),
        "food101" => ("UPMC Food-101", "food101", "accuracy", 0.2, &multi_class),
        "hateful-memes" => (
            "Hateful Memes",
            "hateful_memes",
            "auroc",
            0.11,
            &multi_class,
        ),
        other => bail!(
            "the paper has no data set {other:?}; it has mm-imdb, food101 and hateful-memes (--data NAME=FOLDER); for \
             others write a plan (docs/paper.md)"
        ),
    };
    let mut overrides = vec![
        format!("data.format={format}"),
        format!("data.path={}", folder.display()),
        format!("model.clip={}", clip.display()),
        format!("train.select={metric}"),
        format!("train.validate_every={every}"),
        "loss.contrast=0.1".into(),
    ];
    overrides.extend(own.iter().map(|pair| (*pair).to_owned()));
    // The scale of cosines that a multi-label task starts from.
    let scale = if name == "mm-imdb" { 16 } else { 30 };
    let scale = format!("model.head.scale=[{scale}, {scale}, {scale}]");
    let variants = ["dpl", "arcface", "joint"].map(|head| (head.to_owned(), vec![scale.clone()]));
    Ok(DataSet {
        name: name.into(),
        title: title.into(),
        config: None,
        overrides,
        variants: variants.into_iter().collect(),
        metric: metric.into(),
        note: None,
    })
}

/// The recipe's settings.
pub fn recipe(preset: Preset) -> Vec<String> {
    let pairs: &[&str] = match preset {
        Preset::Paper => &[
            "train.epochs=20",
            "train.batch_size=4",
            "train.accumulate=64",
            "train.rate=0.01",
            "train.warmup=0.1",
            "train.decay=linear",
            "train.optimiser.beta1=0.9",
            "train.optimiser.beta2=0.98",
            "train.optimiser.weight_decay=0.02",
        ],
        Preset::Small => &["train.epochs=6", "train.batch_size=64", "train.rate=0.003"],
    };
    pairs.iter().map(|pair| (*pair).to_owned()).collect()
}

/// The plan of an experiment on these data sets.
///
/// # Errors
/// If a data set is none of the paper's.
pub fn plan(
    experiment: Experiment,
    data: &[(String, &Path)],
    clip: &Path,
    preset: Preset,
) -> Result<Plan> {
    let mut sets = Vec::new();
    for (name, folder) in data {
        let mut set = data_set(name, folder, clip)?;
        set.overrides.extend(recipe(preset));
        sets.push(set);
    }
    let mut prompts = prompts(preset);
    let settings = match experiment {
        Experiment::Fig6 | Experiment::Fig7 => {
            let kept = SETTINGS.iter().filter(|setting| setting.rate == 70);
            kept.map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    };
    if !matches!(experiment, Experiment::Table1 | Experiment::Fig5) {
        prompts.retain(|prompt| prompt.name == "dcp");
    }
    Ok(Plan {
        data: sets,
        prompts,
        heads: heads(experiment),
        parts: vec![Part {
            settings,
            ..Part::default()
        }],
    })
}
