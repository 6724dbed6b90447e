//! Owns posts from disk as a source of batches.

use std::fmt::Write;

use anyhow::{Context, Result};
use candle_core::Device;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use shared::model::Batch;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::{Encoded, TextTokenizer};
use shared::{Case, Modality};

use super::pictures::{Cache, Pictures};
use super::record::{self, Post};
use crate::engine::source::{Facts, Input, Source};

/// The posts of one split. Batches are asked for by post number and depend on nothing else, so that any batch of a run
/// can be made alone and a resumed run goes on in the middle of an epoch.
pub struct Loader {
    posts: Vec<Post>,
    facts: Facts,
    tokens: Vec<Option<Encoded>>,
    pictures: Pictures,
    images: ImagePreprocessor,
    tokenizer: TextTokenizer,
    device: Device,
    fingerprint: Option<String>,
}

impl Loader {
    /// Takes the posts of one split. Texts are tokenised now; pictures too are decoded now, on all threads, if `cache` has
    /// room for them, and with every batch otherwise.
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
        cache: &Cache,
    ) -> Result<Self> {
        let cases: Vec<Case> = posts
            .iter()
            .map(|post| post.case().with_context(|| post.place()))
            .collect::<Result<_>>()?;
        let classes = record::indices(&posts, classes)?;
        let encode = |post: &Post| -> Result<Option<Encoded>> {
            let text = post.text.as_deref().map(|text| tokenizer.encode(text));
            text.transpose().with_context(|| post.place())
        };
        let tokens: Vec<Option<Encoded>> = posts.par_iter().map(encode).collect::<Result<_>>()?;
        let pictures = Pictures::new(&posts, images, cache)?;
        Ok(Self {
            fingerprint: pictures
                .fingerprint()
                .map(|pictures| fingerprint(pictures, &cases, &tokens)),
            facts: Facts {
                rows: record::table_rows(&posts),
                cases,
                classes,
            },
            pictures,
            posts,
            tokens,
            images: images.clone(),
            tokenizer: tokenizer.clone(),
            device: device.clone(),
        })
    }

    /// The posts, in their order.
    pub fn posts(&self) -> &[Post] {
        &self.posts
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
        let found = self.pictures.pixels(post, &self.posts[post])?;
        found.with_context(|| format!("{} has no image to give", self.posts[post].place()))
    }
}

impl Source for Loader {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Input> {
        Ok(Input::Posts(self.batch(posts, cases)?))
    }
}

/// A hash of posts: of their pictures' hash, and of what each has and its words.
fn fingerprint(pictures: &str, cases: &[Case], tokens: &[Option<Encoded>]) -> String {
    let mut all = pictures.to_owned();
    for (case, tokens) in cases.iter().zip(tokens) {
        let ids = tokens.as_ref().map(|tokens| &tokens.ids);
        // Writing to a String cannot fail.
        let _ = write!(all, " {case:?} {ids:?}");
    }
    format!("{:x}", Sha256::digest(all))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::format::jsonl;
    use crate::data::synthetic;
    use crate::pretrain::tokenizer;

    fn loader(folder: &Path, cache: &Cache) -> Result<Loader> {
        let posts = jsonl::read(folder)?;
        let classes = record::classes(&posts);
        let words = ["red square".to_owned(), "blue disc".to_owned()];
        let words = tokenizer::train(&words, 516)?;
        let tokenizer =
            TextTokenizer::from_vocab_and_merges(&words.vocab_json, &words.merges_txt, 16)?;
        let images = ImagePreprocessor::new(16, None);
        Loader::new(posts, &classes, &images, &tokenizer, &Device::Cpu, cache)
    }

    /// Nothing is kept.
    const NOT: Cache = Cache {
        memory: 0,
        folder: None,
    };

    #[test]
    fn batches_are_the_same_wherever_pictures_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::write(folder.path(), [6, 0, 0], 1).unwrap();
        let disk = Cache {
            folder: Some(folder.path().join("kept")),
            ..NOT
        };
        let cases = [Case::Complete, Case::TextMissing, Case::ImageMissing];
        let values = |cache: &Cache, kept: bool| {
            let loader = loader(folder.path(), cache).unwrap();
            assert_eq!(loader.pictures.are_kept(), kept);
            let texts = loader.batch(&[1], &[Case::ImageMissing]).unwrap();
            assert!(texts.pixels.is_none());
            let batch = loader.batch(&[4, 0, 2], &cases).unwrap();
            let (pixels, tokens) = (batch.pixels.unwrap(), batch.tokens.unwrap());
            assert_eq!(pixels.dims(), [2, 3, 16, 16]);
            assert_eq!(tokens.ids.dims(), [2, 16]);
            (
                pixels.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                tokens.ids.to_vec2::<u32>().unwrap(),
            )
        };
        let lazy = values(&NOT, false);
        assert_eq!(values(&Cache::default(), true), lazy);
        assert_eq!(values(&disk, true), lazy);

        // What lies there is used again, unless a picture was changed since, or the file is not whole.
        let files = || -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(folder.path().join("kept")).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let [file] = files().try_into().unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        assert_eq!(bytes.len(), 6 * 3 * 16 * 16);
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        std::fs::write(&file, &bytes).unwrap();
        assert_ne!(values(&disk, true), lazy);
        std::fs::write(&file, &bytes[1..]).unwrap();
        assert_eq!(values(&disk, true), lazy);
        let picture = folder.path().join("images/train-4.png");
        std::fs::copy(folder.path().join("images/train-5.png"), &picture).unwrap();
        let changed = values(&disk, true);
        assert_ne!(changed, lazy);
        assert_eq!(changed, values(&NOT, false));
        assert_eq!(files().len(), 2);
    }

    #[test]
    fn a_damaged_picture_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::write(folder.path(), [3, 0, 0], 1).unwrap();
        let path = folder.path().join("images/train-1.png");
        std::fs::write(&path, b"no picture").unwrap();
        let error = format!(
            "{:#}",
            loader(folder.path(), &Cache::default()).err().unwrap()
        );
        assert!(
            error.contains("line 2") && error.contains("train-1.png"),
            "{error}"
        );
        let late = loader(folder.path(), &NOT).unwrap();
        assert!(late.batch(&[1], &[Case::Complete]).is_err());
        assert!(late.batch(&[0, 2], &[Case::Complete; 2]).is_ok());
    }
}
