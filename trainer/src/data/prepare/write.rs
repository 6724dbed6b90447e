//! Owns the files that preparing makes: pictures, their JSON lines, and the summary of both.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::RgbaImage;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::clipart::{ClipArt, Names};
use super::concept::slug;
use super::demo;
use super::emoji::Emoji;
use super::relabel::Line;
use super::render::on_white;
use crate::data::split::Split;

/// One line of `drawings/drawings.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Drawing {
    id: String,
    set: &'static str,
    style: String,
    concept: String,
    image: String,
    name: String,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    directories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subgroup: Option<String>,
    split: Split,
    #[serde(skip)]
    group: Option<&'static str>,
}

/// One line of `emoji/data.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DemoPost {
    pub(super) id: String,
    pub(super) image: String,
    pub(super) text: String,
    pub(super) labels: [&'static str; 1],
    pub(super) split: Split,
    pub(super) style: String,
    pub(super) concept: String,
    #[serde(skip)]
    pub(super) tags: Vec<String>,
}

impl Drawing {
    /// The `number`th drawing of an emoji in a style.
    pub(super) fn emoji(style: &str, emoji: &Emoji, number: usize, split: Split) -> Self {
        let mut key = slug(&emoji.label);
        if number > 1 {
            key = format!("{key}_{number}");
        }
        Self {
            id: format!("emoji/{style}/{key}"),
            set: "emoji",
            style: style.to_owned(),
            concept: emoji.concept.clone(),
            image: format!("images/emoji/{style}/{key}.png"),
            name: emoji.label.clone(),
            tags: emoji.tags.clone(),
            directories: Vec::new(),
            subgroup: Some(emoji.subgroup.replace('-', " ")),
            split,
            group: demo::group(&emoji.subgroup),
        }
    }

    /// A drawing of the clip art library. Drawings of the same name are one concept.
    pub(super) fn clip_art(art: &ClipArt, names: &Names) -> Self {
        let concept = if names.name.is_empty() {
            art.key.clone()
        } else {
            slug(&names.name)
        };
        Self {
            id: format!("clipart/{}", art.key),
            set: "clipart",
            style: "clipart".into(),
            concept: format!("clipart/{concept}"),
            image: format!("images/clipart/clipart/{}.png", art.key),
            name: names.name.clone(),
            tags: names.tags.clone(),
            directories: art.directories.clone(),
            subgroup: None,
            split: Split::Train,
            group: None,
        }
    }
}

/// The output folder. What is made lies beside the old until all of it is there.
pub(super) struct Output {
    out: PathBuf,
    building: PathBuf,
}

impl Output {
    pub(super) fn begin(out: &Path) -> Result<Self> {
        let building = out.join(".preparing");
        if building.exists() {
            std::fs::remove_dir_all(&building)
                .with_context(|| format!("cannot clear {}", building.display()))?;
        }
        let this = Self {
            out: out.to_owned(),
            building,
        };
        for folder in ["drawings", "emoji/images"] {
            make_folder(&this.building.join(folder))?;
        }
        Ok(this)
    }

    /// Writes one JSON object a line.
    pub(super) fn lines<T: Serialize>(&self, name: &str, rows: &[T]) -> Result<()> {
        let path = self.building.join(name);
        let write = || -> Result<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
            for row in rows {
                serde_json::to_writer(&mut file, row)?;
                file.write_all(b"\n")?;
            }
            file.into_inner()?.sync_all()?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a drawing's picture with its alpha.
    pub(super) fn picture(&self, drawing: &Drawing, picture: &RgbaImage) -> Result<()> {
        let path = self.building.join("drawings").join(&drawing.image);
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        picture
            .save(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes the demo post of a drawing, if it belongs to a group.
    pub(super) fn post(&self, drawing: &Drawing, picture: &RgbaImage) -> Result<Option<DemoPost>> {
        let Some(group) = drawing.group else {
            return Ok(None);
        };
        let id = drawing.id.trim_start_matches("emoji/").replace('/', "-");
        let image = format!("images/{id}.png");
        let path = self.building.join("emoji").join(&image);
        on_white(picture)
            .save(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(DemoPost {
            id,
            image,
            text: drawing.name.clone(),
            labels: [group],
            split: drawing.split,
            style: drawing.style.clone(),
            concept: drawing.concept.clone(),
            tags: drawing.tags.clone(),
        }))
    }

    pub(super) fn drawings(&self, drawings: &[Drawing]) -> Result<()> {
        self.lines("drawings/drawings.jsonl", drawings)
    }

    /// Writes the demo task's lines.
    pub(super) fn posts(&self, posts: &[DemoPost]) -> Result<()> {
        self.lines("emoji/data.jsonl", posts)
    }

    /// Writes the lines of another task on the demo's posts.
    pub(super) fn task(&self, folder: &str, lines: &[Line]) -> Result<()> {
        make_folder(&self.building.join(folder))?;
        self.lines(&format!("{folder}/data.jsonl"), lines)
    }

    /// Puts what was made in place of what was there before.
    pub(super) fn finish(&self, made: &[&str]) -> Result<()> {
        for name in made {
            let (from, to) = (self.building.join(name), self.out.join(name));
            if to.exists() {
                std::fs::rename(&to, self.building.join(format!("old-{name}")))
                    .with_context(|| format!("cannot replace {}", to.display()))?;
            }
            std::fs::rename(&from, &to)
                .with_context(|| format!("cannot move {} into place", to.display()))?;
        }
        std::fs::remove_dir_all(&self.building)
            .with_context(|| format!("cannot clear {}", self.building.display()))
    }
}

/// Counts to print: drawings by split, posts by group and split.
pub(super) fn summary(drawings: &[Drawing], posts: &[DemoPost]) -> Vec<String> {
    let by_split = |splits: &[Split]| {
        Split::ALL
            .map(|split| format!("{} {split}", splits.iter().filter(|s| **s == split).count()))
            .join(", ")
    };
    let all: Vec<Split> = drawings.iter().map(|drawing| drawing.split).collect();
    let mut lines = vec![format!("drawings: {} ({})", all.len(), by_split(&all))];
    let mut groups: BTreeMap<&str, Vec<Split>> = BTreeMap::new();
    for post in posts {
        groups.entry(post.labels[0]).or_default().push(post.split);
    }
    let all: Vec<Split> = posts.iter().map(|post| post.split).collect();
    lines.push(format!("demo posts: {} ({})", all.len(), by_split(&all)));
    for (group, splits) in groups {
        lines.push(format!("  {group}: {}", by_split(&splits)));
    }
    lines
}

/// What tells one picture from another.
pub(super) fn digest(picture: &RgbaImage) -> [u8; 32] {
    Sha256::digest(picture.as_raw()).into()
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}
