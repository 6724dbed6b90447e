//! Owns making the project's own data from fetched sources: drawings and nouns to pretrain on, and the demo task.

pub mod clipart;
pub mod concept;
pub mod demo;
pub mod emoji;
pub mod iconify;
pub mod render;
pub mod wordnet;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::split::{self, Split};
use emoji::{Emoji, Emojibase};
use iconify::IconSet;
use write::{Drawing, Output};

/// Licences that allow use without sharing alike; a set under any other is left out.
const LICENCES: [&str; 3] = ["Apache-2.0", "CC-BY-4.0", "MIT"];

/// A concept of more emoji than this is always in the training split.
const MOST_VARIANTS: usize = 9;

/// What to prepare from, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that `cargo xtask fetch` filled.
    pub sources: PathBuf,
    /// The folder to fill: `drawings/`, `drawings.jsonl`, `emoji/`, `wordnet.jsonl`.
    pub out: PathBuf,
    /// Seed of the split.
    pub seed: u64,
    /// Threads to render on; 0 is all.
    pub threads: usize,
}

/// Prepares everything, telling `say` what was made, line by line.
///
/// # Errors
/// If a source is missing (the message says how to get it) or malformed, or the output cannot be written.
pub fn run(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()?;
    let packages = options.sources.join("npm/node_modules");
    let wordnet = debian(&options.sources, "usr/share/wordnet", "wordnet")?;
    let clip_art = debian(&options.sources, "usr/share/openclipart/svg", "clipart")?;
    let icons = packages.join("@iconify-json");
    if !icons.is_dir() {
        bail!(
            "{} is missing; run `cargo xtask fetch emoji` first",
            icons.display()
        );
    }
    let output = Output::begin(&options.out)?;

    let nouns = wordnet::nouns(&wordnet)?;
    let common = nouns.iter().filter(|noun| noun.common).count();
    output.lines("wordnet.jsonl", &nouns)?;
    say(&format!(
        "wordnet: {} nouns, {common} of them common",
        nouns.len()
    ));

    let sets = icon_sets(&icons, say)?;
    let mut base = Emojibase::read(&packages.join("emojibase-data"))?;
    for set in &sets {
        base.learn_names(set);
    }
    let splits = splits(&base.emoji, options.seed);
    say(&format!(
        "emoji: {} in {} concepts",
        base.emoji.len(),
        splits.len()
    ));
    let mut drawings = Vec::new();
    let mut posts = Vec::new();
    for set in &sets {
        let matched = base.matches(set);
        let drawn: Vec<usize> = matched.iter().map(|(_, index)| *index).collect();
        let in_task = demo::posts(&base.emoji, &drawn);
        let made = pool.install(|| draw_set(&output, set, &matched, &base.emoji, &splits))?;
        let before = posts.len();
        for (drawing, picture, index) in &made {
            if in_task.binary_search(index).is_ok() {
                posts.extend(output.post(drawing, picture)?);
            }
        }
        say(&format!(
            "{}: {} of {} icons drawn, {} emoji, {} posts",
            set.style,
            made.len(),
            set.icons.len(),
            made.iter()
                .map(|(_, _, index)| index)
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            posts.len() - before
        ));
        drawings.extend(made.into_iter().map(|(drawing, ..)| drawing));
    }

    let library = clipart::list(&clip_art)?;
    let names = clipart::names(&library, &wordnet::lexicon(&wordnet)?);
    let made = pool.install(|| draw_clip_art(&output, &library, &names))?;
    say(&format!(
        "clip art: {} of {} files drawn",
        made.len(),
        library.len()
    ));
    drawings.extend(made);

    output.drawings(&drawings)?;
    output.finish(&posts)?;
    for line in write::summary(&drawings, &posts) {
        say(&line);
    }
    Ok(())
}

/// The split of every concept, evenly by subgroup. Concepts of very many variants (clocks, families, moons) are always
/// learnt from: in a small split, one of them would be half of its group.
fn splits(emoji: &[Emoji], seed: u64) -> BTreeMap<String, Split> {
    let mut subgroups: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for one in emoji {
        let entry = subgroups.entry(one.concept.clone());
        entry.or_insert_with(|| (one.subgroup.clone(), 0)).1 += 1;
    }
    let (large, small): (Vec<_>, Vec<_>) = subgroups
        .into_iter()
        .partition(|(_, (_, variants))| *variants > MOST_VARIANTS);
    let small = small
        .into_iter()
        .map(|(concept, (subgroup, _))| (concept, subgroup))
        .collect();
    let mut splits = split::assign(&small, seed);
    splits.extend(
        large
            .into_iter()
            .map(|(concept, _)| (concept, Split::Train)),
    );
    splits
}

/// The sets under `folder`, in the order of their names, without those whose licence demands sharing alike.
fn icon_sets(folder: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<Vec<IconSet>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("icons.json").is_file())
        .collect();
    paths.sort();
    let mut sets = Vec::new();
    for path in paths {
        let set = IconSet::read(&path)?;
        if LICENCES.contains(&set.licence.as_str()) {
            sets.push(set);
        } else {
            say(&format!(
                "{}: left out, its licence is {}",
                set.style, set.licence
            ));
        }
    }
    Ok(sets)
}

type Made = (Drawing, image::RgbaImage, usize);

/// Renders the matched icons of a set. A second icon of the same emoji gets a number.
fn draw_set(
    output: &Output,
    set: &IconSet,
    matched: &[(&str, usize)],
    emoji: &[Emoji],
    splits: &BTreeMap<String, Split>,
) -> Result<Vec<Made>> {
    let numbered: Vec<(&str, usize, usize)> = matched
        .iter()
        .enumerate()
        .map(|(i, (icon, index))| {
            let before = matched[..i]
                .iter()
                .rev()
                .take_while(|(_, other)| other == index)
                .count();
            (*icon, *index, before + 1)
        })
        .collect();
    let made: Vec<Option<Made>> = numbered
        .par_iter()
        .map(|(icon, index, number)| {
            let Some(picture) = set.icons[*icon]
                .picture()
                .with_context(|| format!("{}: {icon}", set.style))?
            else {
                return Ok(None);
            };
            let one = &emoji[*index];
            let split = splits.get(&one.concept).copied().unwrap_or(Split::Train);
            let drawing = Drawing::emoji(&set.style, one, *number, split);
            output.picture(&drawing, &picture)?;
            Ok(Some((drawing, picture, *index)))
        })
        .collect::<Result<_>>()?;
    Ok(made.into_iter().flatten().collect())
}

/// Renders the library. Drawings without any word and repeated drawings are left out.
fn draw_clip_art(
    output: &Output,
    library: &[clipart::ClipArt],
    names: &[clipart::Names],
) -> Result<Vec<Drawing>> {
    let pictures: Vec<Option<image::RgbaImage>> = library
        .par_iter()
        .zip(names)
        .map(|(art, names)| {
            if names.name.is_empty() && names.tags.is_empty() {
                return Ok(None);
            }
            clipart::picture(&art.path)
        })
        .collect::<Result<_>>()?;
    let mut seen = std::collections::BTreeSet::new();
    let mut drawings = Vec::new();
    for ((art, names), picture) in library.iter().zip(names).zip(&pictures) {
        let Some(picture) = picture else { continue };
        if seen.insert(write::digest(picture)) {
            let drawing = Drawing::clip_art(art, names);
            output.picture(&drawing, picture)?;
            drawings.push(drawing);
        }
    }
    Ok(drawings)
}

/// A Debian package's folder: where `fetch` unpacked it, or where the system has it.
fn debian(sources: &Path, folder: &str, name: &str) -> Result<PathBuf> {
    [sources.join("debian"), PathBuf::from("/")]
        .map(|root| root.join(folder))
        .into_iter()
        .find(|place| place.is_dir())
        .with_context(|| {
            format!(
                "{} is missing; run `cargo xtask fetch {name}` first",
                sources.join("debian").join(folder).display()
            )
        })
}

/// Reads a JSON file of a source.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; `cargo xtask fetch` gets it",
            path.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
}
