//! Owns posts from disk as a source of batches: read and preprocessed once if they fit in memory, else on the way.

use anyhow::{Context, Result};
use candle_core::Device;
use rayon::prelude::*;
use shared::model::Batch;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::{Encoded, TextTokenizer};
use shared::{Case, Modality};

use super::record::{self, Post};
use crate::engine::source::{Input, Source};

/// Bytes of preprocessed pictures that are kept in memory unless told otherwise.
pub const CACHE: usize = 2 << 30;

/// The posts of one split. Batches are asked for by post number and depend on nothing else, so that any batch of a run
/// can be made alone and a resumed run goes on in the middle of an epoch.
pub struct Loader {
    posts: Vec<Post>,
    cases: Vec<Case>,
    classes: Vec<Vec<usize>>,
    rows: Vec<usize>,
    tokens: Vec<Option<Encoded>>,
    /// Preprocessed pictures by post, unless they are too many.
    pixels: Option<Vec<Option<Vec<f32>>>>,
    images: ImagePreprocessor,
    tokenizer: TextTokenizer,
    device: Device,
}

impl Loader {
    /// Takes the posts of one split. Texts are tokenised now; pictures too are decoded now, on all threads, if they need
    /// at most `cache` bytes, and with every batch otherwise.
    ///
    /// # Errors
    /// If a post has neither an image nor a text, a label is none of `classes`, or a picture cannot be read; the
    /// message names the line of `data.jsonl` and the file.
    pub fn new(
        posts: Vec<Post>,
        classes: &[String],
        images: &ImagePreprocessor,
        tokenizer: &TextTokenizer,
        device: &Device,
        cache: usize,
    ) -> Result<Self> {
        let cases = posts
            .iter()
            .map(|post| post.case().with_context(|| post.place()))
            .collect::<Result<_>>()?;
        let classes = record::indices(&posts, classes)?;
        let encode = |post: &Post| -> Result<Option<Encoded>> {
            let text = post.text.as_deref().map(|text| tokenizer.encode(text));
            text.transpose().with_context(|| post.place())
        };
        let tokens = posts.par_iter().map(encode).collect::<Result<_>>()?;
        let pictures = posts.iter().filter(|post| post.image.is_some()).count();
        let bytes = pictures * 3 * images.size().pow(2) * size_of::<f32>();
        let pixels = (bytes <= cache)
            .then(|| {
                posts
                    .par_iter()
                    .map(|post| pixels(post, images))
                    .collect::<Result<_>>()
            })
            .transpose()?;
        Ok(Self {
            rows: record::table_rows(&posts),
            posts,
            cases,
            classes,
            tokens,
            pixels,
            images: images.clone(),
            tokenizer: tokenizer.clone(),
            device: device.clone(),
        })
    }

    /// The posts, in their order.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Whether the pictures are kept in memory.
    pub fn is_cached(&self) -> bool {
        self.pixels.is_some()
    }

    /// Pixels and tokens of these posts; post `posts[i]` is to appear in case `cases[i]`.
    ///
    /// # Errors
    /// If a post lacks what its case has, or a picture cannot be read.
    pub fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Batch> {
        let with = |modality: Modality| -> Vec<usize> {
            let pairs = posts.iter().zip(cases);
            pairs
                .filter(|(_, case)| case.has(modality))
                .map(|(&post, _)| post)
                .collect()
        };
        let pixels: Vec<Vec<f32>> = with(Modality::Image)
            .into_par_iter()
            .map(|post| self.pixels(post))
            .collect::<Result<_>>()?;
        let tokens: Vec<Encoded> = with(Modality::Text)
            .into_iter()
            .map(|post| {
                let tokens = self.tokens[post].clone();
                tokens.with_context(|| format!("{} has no text to give", self.posts[post].place()))
            })
            .collect::<Result<_>>()?;
        let context = Some(self.tokenizer.context_length());
        Ok(Batch {
            cases: cases.to_vec(),
            pixels: (!pixels.is_empty())
                .then(|| self.images.tensor(&pixels, &self.device))
                .transpose()?,
            tokens: (!tokens.is_empty())
                .then(|| self.tokenizer.batch(&tokens, context, &self.device))
                .transpose()?,
        })
    }

    fn pixels(&self, post: usize) -> Result<Vec<f32>> {
        let found = match &self.pixels {
            Some(pixels) => pixels[post].clone(),
            None => pixels(&self.posts[post], &self.images)?,
        };
        found.with_context(|| format!("{} has no image to give", self.posts[post].place()))
    }
}

impl Source for Loader {
    fn len(&self) -> usize {
        self.posts.len()
    }

    fn case(&self, post: usize) -> Case {
        self.cases[post]
    }

    fn classes(&self, post: usize) -> &[usize] {
        &self.classes[post]
    }

    fn row(&self, post: usize) -> usize {
        self.rows[post]
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Input> {
        Ok(Input::Posts(self.batch(posts, cases)?))
    }
}

/// The preprocessed picture of a post, if it has one.
fn pixels(post: &Post, images: &ImagePreprocessor) -> Result<Option<Vec<f32>>> {
    let Some(picture) = &post.image else {
        return Ok(None);
    };
    let pixels = || -> Result<Vec<f32>> { Ok(images.pixels(&picture.bytes()?)?) };
    pixels()
        .map(Some)
        .with_context(|| format!("{}: {picture}", post.place()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::format::jsonl;
    use crate::data::synthetic;
    use crate::pretrain::tokenizer;

    fn loader(folder: &Path, cache: usize) -> Result<Loader> {
        let posts = jsonl::read(folder)?;
        let classes = record::classes(&posts);
        let words = ["red square".to_owned(), "blue disc".to_owned()];
        let words = tokenizer::train(&words, 516)?;
        let tokenizer =
            TextTokenizer::from_vocab_and_merges(&words.vocab_json, &words.merges_txt, 16)?;
        let images = ImagePreprocessor::new(16, None);
        Loader::new(posts, &classes, &images, &tokenizer, &Device::Cpu, cache)
    }

    #[test]
    fn batches_are_the_same_with_and_without_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::write(folder.path(), [6, 0, 0], 1).unwrap();
        let (cached, lazy) = (
            loader(folder.path(), CACHE).unwrap(),
            loader(folder.path(), 0).unwrap(),
        );
        assert!(cached.is_cached() && !lazy.is_cached());
        let cases = [Case::Complete, Case::TextMissing, Case::ImageMissing];
        let values = |loader: &Loader| {
            let batch = loader.batch(&[4, 0, 2], &cases).unwrap();
            let (pixels, tokens) = (batch.pixels.unwrap(), batch.tokens.unwrap());
            assert_eq!(pixels.dims(), [2, 3, 16, 16]);
            assert_eq!(tokens.ids.dims(), [2, 16]);
            (
                pixels.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                tokens.ids.to_vec2::<u32>().unwrap(),
            )
        };
        assert_eq!(values(&cached), values(&lazy));
        let texts = cached.batch(&[1], &[Case::ImageMissing]).unwrap();
        assert!(texts.pixels.is_none());
    }

    #[test]
    fn a_damaged_picture_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::write(folder.path(), [3, 0, 0], 1).unwrap();
        let path = folder.path().join("images/train-1.png");
        std::fs::write(&path, b"no picture").unwrap();
        let error = format!("{:#}", loader(folder.path(), CACHE).err().unwrap());
        assert!(
            error.contains("line 2") && error.contains("train-1.png"),
            "{error}"
        );
        let late = loader(folder.path(), 0).unwrap();
        assert!(late.batch(&[1], &[Case::Complete]).is_err());
        assert!(late.batch(&[0, 2], &[Case::Complete; 2]).is_ok());
    }
}
