//! Owns posts that are prepared once and kept in memory: pixels and tokens by post.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use shared::model::Batch;
use shared::preprocess::text::{Encoded, TextTokenizer};
use shared::{Case, Modality};

use super::source::Source;

/// One prepared post.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Normalised pixels [3, S, S], if it has an image.
    pub pixels: Option<Vec<f32>>,
    /// Tokens, if it has a text.
    pub tokens: Option<Encoded>,
    /// Its classes.
    pub classes: Vec<usize>,
}

/// Prepared posts as a source.
pub struct Memory {
    posts: Vec<Prepared>,
    cases: Vec<Case>,
    side: usize,
    tokenizer: TextTokenizer,
    device: Device,
}

impl Memory {
    /// Takes posts whose pictures are `side` pixels wide.
    ///
    /// # Errors
    /// If a post has neither an image nor a text.
    pub fn new(
        posts: Vec<Prepared>,
        side: usize,
        tokenizer: TextTokenizer,
        device: &Device,
    ) -> Result<Self> {
        let case = |(i, post): (usize, &Prepared)| {
            Case::of(post.pixels.is_some(), post.tokens.is_some())
                .with_context(|| format!("post {i}"))
        };
        let cases = posts.iter().enumerate().map(case).collect::<Result<_>>()?;
        Ok(Self {
            posts,
            cases,
            side,
            tokenizer,
            device: device.clone(),
        })
    }
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.posts.len()
    }

    fn case(&self, post: usize) -> Case {
        self.cases[post]
    }

    fn classes(&self, post: usize) -> &[usize] {
        &self.posts[post].classes
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Batch> {
        let with = |modality: Modality| {
            let pairs = posts
                .iter()
                .zip(cases)
                .filter(move |(_, case)| case.has(modality));
            pairs.map(|(&post, _)| &self.posts[post])
        };
        let mut pixels = Vec::new();
        for post in with(Modality::Image) {
            pixels.extend_from_slice(
                post.pixels
                    .as_deref()
                    .context("a post has no image to give")?,
            );
        }
        let tokens: Vec<Encoded> = with(Modality::Text)
            .map(|post| post.tokens.clone().context("a post has no text to give"))
            .collect::<Result<_>>()?;
        let images = with(Modality::Image).count();
        let pixels = (images > 0)
            .then(|| Tensor::from_vec(pixels, (images, 3, self.side, self.side), &self.device));
        let tokens = (!tokens.is_empty()).then(|| {
            self.tokenizer
                .batch(&tokens, Some(self.tokenizer.context_length()), &self.device)
        });
        Ok(Batch {
            cases: cases.to_vec(),
            pixels: pixels.transpose()?,
            tokens: tokens.transpose()?,
        })
    }
}
