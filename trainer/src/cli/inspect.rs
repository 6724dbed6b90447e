//! Owns `trainer inspect`: what a bundle is, how large, under which licence, and how good, without loading its weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use shared::bundle::{FileRole, MANIFEST, Manifest};
use shared::limits::MANIFEST_BYTES;

use crate::bounded;
use crate::report::table::Table;

/// Says what a bundle is.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The bundle's folder.
    bundle: PathBuf,
}

/// Runs the subcommand.
///
/// # Errors
/// If the folder has no manifest, or it is damaged.
pub fn run(args: &Args) -> Result<()> {
    let path = args.bundle.join(MANIFEST);
    let bytes = bounded::bytes(&path, MANIFEST_BYTES)
        .context("a bundle is a folder that `trainer export` made")?;
    let manifest = Manifest::parse(&bytes)?;
    print!("{}", describe(&manifest));
    check(&args.bundle, &manifest);
    Ok(())
}

/// Everything worth knowing, as text.
fn describe(manifest: &Manifest) -> String {
    let about = &manifest.about;
    let or = |text: &str| {
        if text.is_empty() {
            "not stated".to_owned()
        } else {
            text.to_owned()
        }
    };
    let dtype = serde_json::to_value(manifest.dtype).unwrap_or_default();
    let size = |roles: &[FileRole]| {
        let files = manifest
            .files
            .iter()
            .filter(|file| roles.contains(&file.role));
        files.map(|file| file.bytes).sum::<u64>() as f64 / 1e6
    };
    let common = [FileRole::Tokenizer, FileRole::PromptsAndHead];
    let mut text = format!(
        "{}\n{}\n\nlicence      {}\nweights      {}\nformat       {}\nclasses      {}\n\n",
        or(&about.name),
        or(&about.description),
        or(&about.licence),
        dtype.as_str().unwrap_or_default(),
        manifest.format_version,
        manifest.config.classes.len(),
    );
    for (what, roles) in [
        ("image tower", &[FileRole::ImageTower][..]),
        ("text tower", &[FileRole::TextTower]),
        ("the rest", &common),
        ("image alone", &[FileRole::ImageTower, common[0], common[1]]),
        ("text alone", &[FileRole::TextTower, common[0], common[1]]),
    ] {
        text += &format!("{what:<12} {:.2} MB\n", size(roles));
    }
    text += &format!(
        "all          {:.2} MB\n",
        manifest.total_bytes() as f64 / 1e6
    );
    for (title, figures) in [
        ("What was measured", &about.figures),
        ("What storing the weights this way changed", &about.drift),
    ] {
        if figures.is_empty() {
            continue;
        }
        let mut table = Table::new(&["split", "posts with", "metric", "value", "posts"]);
        for figure in figures {
            table.row([
                figure.split.clone(),
                figure.case.map_or("a mix".into(), |case| case.to_string()),
                figure.metric.clone(),
                format!("{:.4}", figure.value),
                figure.posts.to_string(),
            ]);
        }
        text += &format!("\n{title}\n{table}");
    }
    text
}

/// Says which files are not there or of another size.
fn check(folder: &Path, manifest: &Manifest) {
    for file in &manifest.files {
        match std::fs::metadata(folder.join(&file.name)) {
            Ok(found) if found.len() == file.bytes => {}
            Ok(found) => eprintln!(
                "note: {} has {} bytes instead of {}; the bundle is damaged",
                file.name,
                found.len(),
                file.bytes
            ),
            Err(_) => eprintln!("note: {} is missing; the bundle is incomplete", file.name),
        }
    }
}
