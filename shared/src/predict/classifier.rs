//! Owns the classifier: a model with its preprocessing, from the bytes of posts to predictions.

use super::Prediction;
use super::network::{Network, PostFeatures, PreparedPost};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::preprocess::image::ImagePreprocessor;
use crate::preprocess::text::TextTokenizer;

/// A post as it comes: an encoded picture and a text, either of which may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawPost<'a> {
    /// The bytes of a PNG, JPEG, WebP or GIF file.
    pub image: Option<&'a [u8]>,
    /// The text. A text of nothing but white space counts as absent.
    pub text: Option<&'a str>,
}

/// A network with the preprocessing it was trained with.
pub struct Classifier {
    network: Box<dyn Network>,
    images: ImagePreprocessor,
    tokenizer: TextTokenizer,
}

impl Classifier {
    /// Joins the parts, which must be of one size.
    ///
    /// # Errors
    /// If the preprocessor's picture size is not the model's.
    pub fn new(
        network: impl Network + 'static,
        images: ImagePreprocessor,
        tokenizer: TextTokenizer,
    ) -> Result<Self> {
        let expected = network.config().clip.vision_config.image_size;
        if images.size() != expected {
            return Err(Error::Config {
                file: "preprocessor_config.json".into(),
                message: format!(
                    "pictures are cropped to {}, but the model takes {expected} pixels a side",
                    images.size()
                ),
            });
        }
        Ok(Self {
            network: Box::new(network),
            images,
            tokenizer,
        })
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// How pictures become pixels.
    pub fn images(&self) -> &ImagePreprocessor {
        &self.images
    }

    /// How texts become tokens.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Classifies one post.
    ///
    /// # Errors
    /// If the post has neither image nor text, or the picture cannot be decoded.
    pub fn classify(&self, image: Option<&[u8]>, text: Option<&str>) -> Result<Prediction> {
        let mut predictions = self.classify_many(&[RawPost { image, text }])?;
        predictions
            .pop()
            .ok_or_else(|| Error::Input("nothing was predicted".into()))
    }

    /// Classifies posts together, of any mix of cases; the predictions in the posts' order.
    ///
    /// # Errors
    /// If a post has neither image nor text, or a picture cannot be decoded: with the post's place if there are several.
    pub fn classify_many(&self, posts: &[RawPost<'_>]) -> Result<Vec<Prediction>> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        let posts = self.prepare(posts)?;
        let (config, evidence) = (self.network.config(), self.network.evidence());
        let answers = self.network.answers(&posts)?;
        let predictions = posts.iter().zip(&answers).map(|(post, answer)| {
            let parts = answer.parts.each_ref().map(Option::as_deref);
            Prediction::new(config, post.case, evidence, &answer.logits, parts)
        });
        Ok(predictions.collect())
    }

    /// The projected features of posts, not normalised: image and text, absent where the modality is missing.
    ///
    /// # Errors
    /// As [`Classifier::classify_many`].
    pub fn features(&self, posts: &[RawPost<'_>]) -> Result<Vec<PostFeatures>> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        self.network.features(&self.prepare(posts)?)
    }

    /// Preprocesses posts.
    ///
    /// # Errors
    /// As [`Classifier::classify_many`].
    pub fn prepare(&self, posts: &[RawPost<'_>]) -> Result<Vec<PreparedPost>> {
        let one = |(place, post)| {
            self.prepare_one(post)
                .map_err(|error| placed(error, place, posts.len()))
        };
        posts.iter().enumerate().map(one).collect()
    }

    /// Preprocesses a post.
    ///
    /// # Errors
    /// As [`Classifier::classify_many`], for one.
    pub fn prepare_one(&self, post: &RawPost<'_>) -> Result<PreparedPost> {
        let text = post.text.filter(|text| !text.trim().is_empty());
        let case = Case::of(post.image.is_some(), text.is_some())?;
        let loaded = self.network.modalities();
        let wanted = Modality::ALL
            .into_iter()
            .find(|&of| case.has(of) && !loaded.contains(&of));
        if let Some(modality) = wanted {
            return Err(crate::infer::absent(modality));
        }
        Ok(PreparedPost {
            case,
            pixels: post
                .image
                .map(|bytes| self.images.pixels(bytes))
                .transpose()?,
            text: text.map(|text| self.tokens(text)).transpose()?,
        })
    }

    /// The token ids of a text, padded to the context length, and the end token's index.
    ///
    /// # Errors
    /// If the tokeniser fails.
    pub(super) fn tokens(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let text_config = &self.network.config().clip.text_config;
        let mut encoded = self.tokenizer.encode(text)?;
        // Dynamic prompts read the padding, which is the id 0.
        encoded.ids.resize(text_config.max_position_embeddings, 0);
        Ok((encoded.ids, encoded.eot))
    }
}

/// Says which of several posts an error is about.
fn placed(error: Error, index: usize, count: usize) -> Error {
    if count < 2 {
        error
    } else {
        Error::Input(format!("post {} of {count}: {error}", index + 1))
    }
}
