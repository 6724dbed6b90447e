//! Owns synthetic posts: noisy coloured squares with a few words, for tests and for a first try without any data.

use anyhow::Result;
use candle_core::Device;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;
use shared::rng::{self, Rng};

use super::memory::{Memory, Prepared};

/// The classes: a colour and the word for it.
const COLOURS: [(&str, [u8; 3]); 4] = [
    ("red", [210, 50, 40]),
    ("green", [50, 160, 70]),
    ("blue", [50, 80, 200]),
    ("yellow", [230, 210, 60]),
];
/// Words that say nothing about the class.
const WORDS: [&str; 6] = ["a", "small", "square", "picture", "of", "today"];

/// The classes' names.
pub fn classes() -> Vec<String> {
    COLOURS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// `count` posts of the split `name`, all with image and text; the same for the same seed.
///
/// # Errors
/// If a text cannot be tokenised.
pub fn split(
    name: &str,
    count: usize,
    seed: u64,
    images: &ImagePreprocessor,
    tokenizer: &TextTokenizer,
    device: &Device,
) -> Result<Memory> {
    let mut rng = rng::stream(seed, &format!("synthetic {name}"));
    let posts = (0..count).map(|i| {
        let class = i % COLOURS.len();
        let pixels = images.pixels_from_rgb(16, 16, square(COLOURS[class].1, &mut rng))?;
        let tokens = tokenizer.encode(&sentence(COLOURS[class].0, &mut rng))?;
        Ok(Prepared {
            pixels: Some(pixels),
            tokens: Some(tokens),
            classes: vec![class],
        })
    });
    Memory::new(
        posts.collect::<Result<_>>()?,
        images.size(),
        tokenizer.clone(),
        device,
    )
}

/// 16 x 16 samples around a colour.
fn square(colour: [u8; 3], rng: &mut Rng) -> Vec<u8> {
    let noisy = |channel: u8, rng: &mut Rng| {
        let noise = 120.0 * (rng::unit(rng) - 0.5);
        (f64::from(channel) + noise).clamp(0.0, 255.0) as u8
    };
    (0..16 * 16)
        .flat_map(|_| colour.map(|channel| noisy(channel, rng)))
        .collect()
}

/// The colour's word among four others; in one of five the colour is not told.
fn sentence(colour: &str, rng: &mut Rng) -> String {
    let mut words: Vec<&str> = (0..4)
        .map(|_| WORDS[rng::below(rng, WORDS.len())])
        .collect();
    if rng::unit(rng) < 0.8 {
        words[2] = colour;
    }
    words.join(" ")
}
