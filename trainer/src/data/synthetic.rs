//! Owns a made-up data folder: coloured shapes with a few words, for tests of everything that reads files.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use shared::rng::{self, Rng};

use super::format::jsonl;
use super::split::Split;
use crate::engine::atomic;

/// Side of the pictures in pixels.
const SIDE: u32 = 24;
/// What the posts are called and coloured: the classes are colour and shape.
const COLOURS: [(&str, [u8; 3]); 3] = [
    ("red", [210, 40, 40]),
    ("green", [40, 160, 60]),
    ("blue", [50, 70, 210]),
];
const SHAPES: [&str; 2] = ["square", "disc"];
const WORDS: [&str; 6] = ["a", "tiny", "large", "old", "new", "plain"];

/// Writes a data folder of `counts` train, val and test posts; the same files for the same seed. The text names the
/// colour, the picture shows colour and shape, and the label is both, so that each modality alone does worse.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path, counts: [usize; 3], seed: u64) -> Result<()> {
    let images = folder.join(jsonl::IMAGES);
    std::fs::create_dir_all(&images)
        .with_context(|| format!("cannot make the folder {}", images.display()))?;
    let mut lines = String::new();
    for (split, count) in Split::ALL.into_iter().zip(counts) {
        let mut rng = rng::stream(seed, &format!("synthetic folder {split}"));
        for i in 0..count {
            let (colour, rgb) = COLOURS[i % COLOURS.len()];
            let shape = SHAPES[i / COLOURS.len() % SHAPES.len()];
            let id = format!("{split}-{i}");
            let path = images.join(format!("{id}.png"));
            picture(rgb, shape, &mut rng)
                .save(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            let word = WORDS[rng::below(&mut rng, WORDS.len())];
            // Unique texts: what is the same in two splits is reported by `data check`.
            let text = format!("{word} {colour} thing, number {i} of {split}");
            // Writing to a String cannot fail.
            let _ = writeln!(
                lines,
                r#"{{"id":"{id}","text":"{text}","label":"{colour} {shape}","split":"{split}"}}"#
            );
        }
    }
    atomic::write(&folder.join(jsonl::FILE), lines.as_bytes())
}

/// A shape somewhere on a light ground, both a little noisy.
fn picture(colour: [u8; 3], shape: &str, rng: &mut Rng) -> RgbImage {
    let reach = 5.0 + 4.0 * rng::unit(rng);
    let mut centre = || 10.0 + 4.0 * rng::unit(rng);
    let (cx, cy) = (centre(), centre());
    let mut pixels = RgbImage::new(SIDE, SIDE);
    for (x, y, pixel) in pixels.enumerate_pixels_mut() {
        let (dx, dy) = ((f64::from(x) - cx).abs(), (f64::from(y) - cy).abs());
        let inside = if shape == "disc" {
            dx.hypot(dy) < reach
        } else {
            dx.max(dy) < reach
        };
        let noise = (20.0 * rng::unit(rng)) as u8;
        let base = if inside { colour } else { [230; 3] };
        *pixel = Rgb(base.map(|channel| channel.saturating_add(noise)));
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::record;

    #[test]
    fn the_folder_is_readable_and_repeatable() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            write(folder.path(), [12, 6, 6], 3).unwrap();
        }
        let posts = jsonl::read(one.path()).unwrap();
        assert_eq!(posts.len(), 24);
        assert_eq!(record::classes(&posts).len(), 6);
        assert!(
            posts
                .iter()
                .all(|post| post.image.is_some() && post.text.is_some())
        );
        for name in ["data.jsonl", "images/train-0.png", "images/test-5.png"] {
            let read =
                |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name)).unwrap();
            assert_eq!(read(&one), read(&two), "{name}");
        }
    }
}
