//! Owns the classifier: a model with its preprocessing, from the bytes of posts to predictions.

use candle_core::{Device, Tensor};

use super::Prediction;
use crate::case::Case;
use crate::error::{Error, Result};
use crate::model::{Batch, Model};
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

/// A model with the preprocessing it was trained with.
pub struct Classifier {
    model: Model,
    images: ImagePreprocessor,
    tokenizer: TextTokenizer,
    device: Device,
}

impl Classifier {
    /// Joins the parts, which must be of one size.
    ///
    /// # Errors
    /// If the preprocessor's picture size is not the model's.
    pub fn new(
        model: Model,
        images: ImagePreprocessor,
        tokenizer: TextTokenizer,
        device: Device,
    ) -> Result<Self> {
        let expected = model.config().clip.vision_config.image_size;
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
            model,
            images,
            tokenizer,
            device,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
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
        let batch = self.batch(posts)?;
        let mut predictions: Vec<Option<Prediction>> = vec![None; posts.len()];
        for output in self.model.forward(&batch)? {
            let logits = rows(&self.model.logits(&output)?)?;
            let [image, text] = self.model.head().contributions(&output.features)?;
            let [image, text] = [
                image.as_ref().map(rows).transpose()?,
                text.as_ref().map(rows).transpose()?,
            ];
            for (i, (&row, logits)) in output.rows.iter().zip(&logits).enumerate() {
                let parts =
                    [&image, &text].map(|part| part.as_ref().map(|part| part[i].as_slice()));
                let case = output.features.case;
                predictions[row] = Some(Prediction::new(
                    self.model.config(),
                    case,
                    self.model.head().evidence(),
                    logits,
                    parts,
                ));
            }
        }
        Ok(predictions.into_iter().flatten().collect())
    }

    /// Preprocesses posts into one batch.
    ///
    /// # Errors
    /// As [`Classifier::classify_many`].
    pub fn batch(&self, posts: &[RawPost<'_>]) -> Result<Batch> {
        let (mut cases, mut pixels, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for (i, post) in posts.iter().enumerate() {
            let text = post.text.filter(|text| !text.trim().is_empty());
            let case = Case::of(post.image.is_some(), text.is_some());
            cases.push(case.map_err(|error| placed(error, i, posts.len()))?);
            if let Some(bytes) = post.image {
                pixels.push(
                    self.images
                        .pixels(bytes)
                        .map_err(|error| placed(error, i, posts.len()))?,
                );
            }
            if let Some(text) = text {
                texts.push(
                    self.tokenizer
                        .encode(text)
                        .map_err(|error| placed(error, i, posts.len()))?,
                );
            }
        }
        let context = self.model.config().clip.text_config.max_position_embeddings;
        let pixels = (!pixels.is_empty())
            .then(|| self.images.tensor(&pixels, &self.device))
            .transpose()?;
        let tokens = (!texts.is_empty())
            .then(|| self.tokenizer.batch(&texts, Some(context), &self.device))
            .transpose()?;
        Ok(Batch {
            cases,
            pixels,
            tokens,
        })
    }
}

fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(tensor.to_vec2::<f32>()?)
}

/// Says which of several posts an error is about.
fn placed(error: Error, index: usize, count: usize) -> Error {
    if count < 2 {
        error
    } else {
        Error::Input(format!("post {} of {count}: {error}", index + 1))
    }
}
