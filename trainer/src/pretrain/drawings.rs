//! Owns the drawings in memory: every picture decoded once, grouped by what it shows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Side of a prepared drawing in pixels.
pub const SIDE: usize = 64;

/// One line of `drawings.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Drawing {
    /// `emoji` or `clipart`.
    pub set: Set,
    /// Who drew it: `noto`, `twemoji`, ...
    pub style: String,
    /// What variants share (man cook, woman cook, cook); splits never cut through it.
    pub concept: String,
    /// The picture, relative to the folder.
    pub image: PathBuf,
    /// Its name.
    pub name: String,
    /// Keywords.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Folders it lay in (clip art).
    #[serde(default)]
    pub directories: Vec<String>,
    /// CLDR subgroup (emoji).
    #[serde(default)]
    pub subgroup: Option<String>,
    /// `train`, `val` or `test`.
    pub split: Split,
}

/// Where a drawing comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// An emoji, drawn in several styles.
    Emoji,
    /// Open Clip Art, one drawing each.
    Clipart,
}

/// What a drawing is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Pretraining.
    Train,
    /// The figures shown while it runs.
    Val,
    /// Never read here.
    Test,
}

/// What a drawing shows: a name and tags, drawn in one or more styles.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name.
    pub name: String,
    /// Keywords and folder names.
    pub tags: Vec<String>,
    /// The group it belongs to (CLDR subgroup, or the clip-art folder), in words.
    pub group: Option<String>,
    /// Its drawings: indices into the pictures, one a style.
    pub drawings: Vec<usize>,
}

/// Subjects that are variants of one thing. A batch holds at most one of them.
#[derive(Clone, Debug)]
pub struct Concept {
    /// Its variants, sorted by name.
    pub subjects: Vec<Subject>,
}

/// All drawings of one split, decoded.
#[derive(Debug)]
pub struct Library {
    /// Concepts of the emoji, sorted by key.
    pub emoji: Vec<Concept>,
    /// Concepts of the clip art, sorted by key.
    pub clipart: Vec<Concept>,
    /// The file of each picture.
    pub files: Vec<PathBuf>,
    /// The style of each picture.
    pub styles: Vec<String>,
    pixels: Vec<u8>,
}

/// Bytes of one decoded drawing.
const BYTES: usize = 4 * SIDE * SIDE;

impl Library {
    /// Reads `folder/drawings.jsonl` and decodes the pictures of `split`.
    ///
    /// # Errors
    /// If the list or a picture is missing or damaged, or the split is empty.
    pub fn read(folder: &Path, split: Split) -> Result<Self> {
        let list = folder.join("drawings.jsonl");
        let drawings: Vec<Drawing> = read_lines(&list)?;
        let kept: Vec<Drawing> = drawings
            .into_iter()
            .filter(|drawing| drawing.split == split)
            .collect();
        ensure!(
            !kept.is_empty(),
            "{} has no drawing of split {split:?}",
            list.display()
        );
        let mut pixels = Vec::with_capacity(kept.len() * BYTES);
        for drawing in &kept {
            decode(&folder.join(&drawing.image), &mut pixels)?;
        }
        let concepts = |set| {
            group(
                kept.iter()
                    .enumerate()
                    .filter(|(_, drawing)| drawing.set == set),
            )
        };
        Ok(Self {
            emoji: concepts(Set::Emoji),
            clipart: concepts(Set::Clipart),
            files: kept
                .iter()
                .map(|drawing| folder.join(&drawing.image))
                .collect(),
            styles: kept.iter().map(|drawing| drawing.style.clone()).collect(),
            pixels,
        })
    }

    /// A picture: SIDE x SIDE RGBA with premultiplied alpha.
    pub fn pixels(&self, drawing: usize) -> &[u8] {
        &self.pixels[drawing * BYTES..(drawing + 1) * BYTES]
    }

    /// Every subject: emoji, then clip art.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.emoji
            .iter()
            .chain(&self.clipart)
            .flat_map(|concept| &concept.subjects)
    }
}

/// The lines of a JSON-lines file.
///
/// # Errors
/// If the file cannot be read or a line is not of this kind; the message names the line.
pub fn read_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; make the data with `cargo xtask fetch` and `trainer data prepare`",
            path.display()
        )
    })?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", path.display(), at + 1))
        })
        .collect()
}

fn decode(path: &Path, pixels: &mut Vec<u8>) -> Result<()> {
    let image = image::open(path)
        .with_context(|| format!("cannot decode {}", path.display()))?
        .into_rgba8();
    let side = SIDE as u32;
    ensure!(
        image.dimensions() == (side, side),
        "{} is {} x {} pixels, not {SIDE} x {SIDE}; run `trainer data prepare` again",
        path.display(),
        image.width(),
        image.height()
    );
    for pixel in image.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        let weigh = |value: u8| ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8;
        pixels.extend([weigh(red), weigh(green), weigh(blue), alpha]);
    }
    Ok(())
}

/// Concepts by key, subjects by name, drawings in the order given. Clip art of one name is one concept of many subjects:
/// each drawing has tags of its own.
fn group<'a>(drawings: impl Iterator<Item = (usize, &'a Drawing)>) -> Vec<Concept> {
    let mut concepts: BTreeMap<&str, BTreeMap<(&str, usize), Subject>> = BTreeMap::new();
    for (index, drawing) in drawings {
        let own = if drawing.set == Set::Clipart {
            index
        } else {
            0
        };
        let subject = concepts
            .entry(&drawing.concept)
            .or_default()
            .entry((&drawing.name, own))
            .or_insert_with(|| Subject::of(drawing));
        subject.drawings.push(index);
    }
    concepts
        .into_values()
        .map(|subjects| Concept {
            subjects: subjects.into_values().collect(),
        })
        .collect()
}

impl Subject {
    fn of(drawing: &Drawing) -> Self {
        let words = |text: &str| {
            text.replace(['-', '_', '/', '&'], " ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let folders: Vec<String> = drawing
            .directories
            .iter()
            .map(|folder| words(folder))
            .filter(|folder| !folder.is_empty())
            .collect();
        let group = match drawing.set {
            Set::Emoji => drawing.subgroup.as_deref().map(words),
            Set::Clipart => Some(folders.join(" ")),
        };
        let mut tags: Vec<String> = drawing.tags.clone();
        // The group's words are tags like others: "animal mammal" says what the lion is.
        let more = match drawing.set {
            Set::Emoji => group.iter().cloned().collect(),
            Set::Clipart => folders,
        };
        for tag in more {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags.retain(|tag| !tag.trim().is_empty());
        Self {
            name: drawing.name.clone(),
            tags,
            group: group.filter(|group| !group.is_empty()),
            drawings: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fmt::Write;

    /// A folder with `emoji` concepts in two styles and `clipart` drawings; every fifth emoji is for validation.
    pub(crate) fn example(folder: &Path, emoji: usize, clipart: usize) {
        let mut lines = String::new();
        let mut add = |set: &str, style: &str, index: usize, colour: [u8; 4]| {
            let file = format!("{set}-{style}-{index}.png");
            image::RgbaImage::from_fn(64, 64, |x, y| {
                let inside = (x as usize + index * 7) % 50 < 30 && y > 8;
                image::Rgba(if inside { colour } else { [0; 4] })
            })
            .save(folder.join(&file))
            .unwrap();
            let split = if set == "emoji" && index % 5 == 4 {
                "val"
            } else {
                "train"
            };
            let line = serde_json::json!({
                "id": file, "set": set, "style": style, "concept": format!("concept {index}"), "image": file,
                "name": format!("{set} thing {index}"), "tags": ["tag", format!("kind {}", index % 3)],
                "directories": if set == "clipart" { vec!["food", "fruit"] } else { vec![] },
                "subgroup": (set == "emoji").then(|| format!("group-{}", index % 2)), "split": split,
            });
            writeln!(lines, "{line}").unwrap();
        };
        for index in 0..emoji {
            for style in ["noto", "other"] {
                add(
                    "emoji",
                    style,
                    index,
                    [(index * 40 % 256) as u8, 90, 200, 255],
                );
            }
        }
        for index in 0..clipart {
            add(
                "clipart",
                "clipart",
                index,
                [20, (index * 50 % 256) as u8, 40, 128],
            );
        }
        std::fs::write(folder.join("drawings.jsonl"), lines).unwrap();
    }

    #[test]
    fn styles_of_one_subject_are_together_and_splits_apart() {
        let folder = tempfile::tempdir().unwrap();
        example(folder.path(), 10, 3);
        let library = Library::read(folder.path(), Split::Train).unwrap();
        assert_eq!((library.emoji.len(), library.clipart.len()), (8, 3));
        let subject = &library.emoji[0].subjects[0];
        assert_eq!(subject.drawings.len(), 2);
        assert_eq!(subject.tags, ["tag", "kind 0", "group 0"]);
        assert_eq!(
            library.clipart[0].subjects[0].group.as_deref(),
            Some("food fruit")
        );
        assert_eq!(
            Library::read(folder.path(), Split::Val)
                .unwrap()
                .emoji
                .len(),
            2
        );
        // Half transparent: colours are premultiplied.
        let clipart = library.pixels(library.clipart[0].subjects[0].drawings[0]);
        assert!(clipart.chunks_exact(4).all(|pixel| pixel[0] <= pixel[3]));
    }

    #[test]
    fn a_missing_list_says_how_to_make_it() {
        let error = Library::read(Path::new("/nowhere"), Split::Train).unwrap_err();
        assert!(format!("{error:#}").contains("trainer data prepare"));
    }
}
