//! Owns making the project's own data from fetched sources: drawings and nouns to pretrain on, and the demo task.

pub mod clipart;
pub mod concept;
pub mod demo;
pub mod emoji;
pub mod iconify;
mod relabel;
pub mod render;
pub mod wordnet;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::split::{self, Split};
use emoji::{Emoji, Emojibase};
use iconify::IconSet;
use relabel::Relabelled;
use write::{DemoPost, Drawing, Output};

/// Licences that allow use without sharing alike; a set under any other is left out.
const LICENCES: [&str; 3] = ["Apache-2.0", "CC-BY-4.0", "MIT"];

/// The folders that the Debian packages bring.
const WORDNET: &str = "usr/share/wordnet";
const CLIP_ART: &str = "usr/share/openclipart/svg";

/// A concept of more emoji than this is always in the training split.
const MOST_VARIANTS: usize = 9;

/// Something that can be prepared alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The demo task, emoji in 24 groups: `emoji/`
    Emoji,
    /// The same posts with their commonest keywords, any number a post: `emoji-tags/`
    Tags,
    /// The same posts: a living being or not: `emoji-living/`
    Living,
    /// Emoji and clip art with their words, to pretrain on: `drawings/`
    Drawings,
    /// Nouns with their hypernyms, to pretrain on: `wordnet.jsonl`
    Wordnet,
}

/// What to prepare, from where, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The parts; those not named stay as they are in `out`.
    pub parts: Vec<Part>,
    /// The folder that `cargo xtask fetch` filled.
    pub sources: PathBuf,
    /// The folder to fill.
    pub out: PathBuf,
    /// Seed of the split.
    pub seed: u64,
    /// Threads to render on; 0 is all.
    pub threads: usize,
}

/// Prepares the parts, telling `say` what was made, line by line.
///
/// # Errors
/// If a source is missing (the message says how to get it) or malformed, or the output cannot be written.
pub fn run(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let wants = |part: Part| options.parts.contains(&part);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()?;
    let output = Output::begin(&options.out)?;
    let mut made = Vec::new();
    if wants(Part::Wordnet) {
        write_nouns(&output, &options.sources, say)?;
        made.push("wordnet.jsonl");
    }
    let mut drawings = Vec::new();
    let mut posts = Vec::new();
    // The other tasks use the demo's pictures.
    let tasks = in_tasks(&options.parts);
    if tasks || wants(Part::Drawings) {
        let all = draw_emoji(&output, options, &pool, say)?;
        for (drawing, post) in all {
            drawings.push(drawing);
            posts.extend(post);
        }
    }
    if wants(Part::Drawings) {
        drawings.extend(draw_clip_art(&output, &options.sources, &pool, say)?);
        output.drawings(&drawings)?;
        made.push("drawings");
    }
    if tasks {
        output.posts(&posts)?;
        made.push("emoji");
    }
    for (part, task) in [
        (Part::Tags, Relabelled::Tags),
        (Part::Living, Relabelled::Living),
    ] {
        if wants(part) {
            let lines = task.lines(&posts);
            say(&format!("{}: {} posts", task.folder(), lines.len()));
            output.task(task.folder(), &lines)?;
            made.push(task.folder());
        }
    }
    output.finish(&made)?;
    for line in write::summary(&drawings, &posts) {
        say(&line);
    }
    Ok(())
}

/// Whether the demo's posts are wanted, for its own task or for another one on the same posts.
fn in_tasks(parts: &[Part]) -> bool {
    let tasks = [Part::Emoji, Part::Tags, Part::Living];
    tasks.iter().any(|task| parts.contains(task))
}

fn write_nouns(output: &Output, sources: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let nouns = wordnet::nouns(&debian(sources, WORDNET, "wordnet")?)?;
    let common = nouns.iter().filter(|noun| noun.common).count();
    output.lines("wordnet.jsonl", &nouns)?;
    say(&format!(
        "wordnet: {} nouns, {common} of them common",
        nouns.len()
    ));
    Ok(())
}

/// Draws the icons of all sets: every emoji if drawings are wanted, else those of the demo task. With each drawing
/// comes its post, if it belongs to the task.
fn draw_emoji(
    output: &Output,
    options: &Options,
    pool: &rayon::ThreadPool,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<(Drawing, Option<DemoPost>)>> {
    let packages = options.sources.join("npm/node_modules");
    let icons = packages.join("@iconify-json");
    if !icons.is_dir() {
        bail!(
            "{} is missing; run `cargo xtask fetch emoji` first",
            icons.display()
        );
    }
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
    let mut all = Vec::new();
    for set in &sets {
        let made = pool.install(|| draw_set(output, set, &base, &splits, &options.parts))?;
        say(&format!(
            "{}: {} of {} icons drawn, {} posts",
            set.style,
            made.len(),
            set.icons.len(),
            made.iter().filter(|(_, post)| post.is_some()).count()
        ));
        all.extend(made);
    }
    Ok(all)
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

/// Renders the matched icons of a set. A second icon of the same emoji gets a number.
fn draw_set(
    output: &Output,
    set: &IconSet,
    base: &Emojibase,
    splits: &BTreeMap<String, Split>,
    parts: &[Part],
) -> Result<Vec<(Drawing, Option<DemoPost>)>> {
    let matched = base.matches(set);
    let drawn: Vec<usize> = matched.iter().map(|(_, index)| *index).collect();
    let in_task = demo::posts(&base.emoji, &drawn);
    let numbered: Vec<(&str, usize, usize)> = matched
        .iter()
        .enumerate()
        .map(|(i, (icon, index))| {
            let before = drawn[..i]
                .iter()
                .rev()
                .take_while(|other| *other == index)
                .count();
            (*icon, *index, before + 1)
        })
        .collect();
    let draw = |(icon, index, number): &(&str, usize, usize)| -> Result<_> {
        let is_post = in_tasks(parts) && in_task.binary_search(index).is_ok();
        if !is_post && !parts.contains(&Part::Drawings) {
            return Ok(None);
        }
        let picture = set.icons[*icon].picture();
        let Some(picture) = picture.with_context(|| format!("{}: {icon}", set.style))? else {
            return Ok(None);
        };
        let one = &base.emoji[*index];
        let split = splits.get(&one.concept).copied().unwrap_or(Split::Train);
        let drawing = Drawing::emoji(&set.style, one, *number, split);
        if parts.contains(&Part::Drawings) {
            output.picture(&drawing, &picture)?;
        }
        let post = if is_post {
            output.post(&drawing, &picture)?
        } else {
            None
        };
        Ok(Some((drawing, post)))
    };
    let made: Vec<Option<_>> = numbered.par_iter().map(draw).collect::<Result<_>>()?;
    Ok(made.into_iter().flatten().collect())
}

/// Renders the clip art library. Drawings without any word and repeated drawings are left out.
fn draw_clip_art(
    output: &Output,
    sources: &Path,
    pool: &rayon::ThreadPool,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Drawing>> {
    let library = clipart::list(&debian(sources, CLIP_ART, "clipart")?)?;
    let lexicon = wordnet::lexicon(&debian(sources, WORDNET, "wordnet")?)?;
    let names = clipart::names(&library, &lexicon);
    let draw = |(art, names): (&clipart::ClipArt, &clipart::Names)| {
        if names.name.is_empty() && names.tags.is_empty() {
            return Ok(None);
        }
        clipart::picture(&art.path)
    };
    let pictures: Vec<Option<image::RgbaImage>> = pool.install(|| {
        library
            .par_iter()
            .zip(&names)
            .map(draw)
            .collect::<Result<_>>()
    })?;
    let mut seen = BTreeSet::new();
    let mut drawings = Vec::new();
    for ((art, names), picture) in library.iter().zip(&names).zip(&pictures) {
        let Some(picture) = picture else { continue };
        if seen.insert(write::digest(picture)) {
            let drawing = Drawing::clip_art(art, names);
            output.picture(&drawing, picture)?;
            drawings.push(drawing);
        }
    }
    say(&format!(
        "clip art: {} of {} files drawn",
        drawings.len(),
        library.len()
    ));
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
