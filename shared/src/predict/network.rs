//! Owns what a classifier needs of a network: features of prepared posts, and the head that reads them.

use candle_core::{Device, Tensor};

use crate::case::{Case, Modality};
use crate::clip::Tokens;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::head::{Features, Head};
use crate::infer::Engine;
use crate::model::{Batch, Model};

/// A post as a network takes it.
#[derive(Clone, Debug)]
pub struct PreparedPost {
    /// What it has.
    pub case: Case,
    /// Preprocessed pixels [3, S, S], present if the case has images.
    pub pixels: Option<Vec<f32>>,
    /// Token ids padded to the context length, and the end token's index; present if the case has texts.
    pub text: Option<(Vec<u32>, usize)>,
}

/// A classifier's network: towers, prompts and head.
pub trait Network: Send + Sync {
    /// What the model is.
    fn config(&self) -> &ModelConfig;

    /// The head.
    fn head(&self) -> &dyn Head;

    /// The modalities whose towers are there.
    fn modalities(&self) -> Vec<Modality>;

    /// The features of posts in groups of one case each, with the places of their posts.
    ///
    /// # Errors
    /// If a post does not fit the model.
    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<(Vec<usize>, Features)>>;

    /// The instruction set or device that the products use.
    fn kernel(&self) -> &str;

    /// The features `[D]` of one side of a complete post: of pixels [3, S, S], or of token ids and the end token's index.
    ///
    /// # Errors
    /// If neither or both are given, or what is given does not fit the model.
    fn embed(&self, pixels: Option<&[f32]>, text: Option<(&[u32], usize)>) -> Result<Vec<f32>>;
}

/// One post after the other, on packed weights.
impl Network for Engine {
    fn config(&self) -> &ModelConfig {
        self.config()
    }

    fn head(&self) -> &dyn Head {
        self.head()
    }

    fn modalities(&self) -> Vec<Modality> {
        self.modalities()
    }

    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<(Vec<usize>, Features)>> {
        let one = |(place, post): (usize, &PreparedPost)| {
            let text = post.text.as_ref().map(|(ids, end)| (ids.as_slice(), *end));
            let features = self.features(post.case, post.pixels.as_deref(), text)?;
            Ok((vec![place], features))
        };
        posts.iter().enumerate().map(one).collect()
    }

    fn kernel(&self) -> &str {
        self.kernel()
    }

    fn embed(&self, pixels: Option<&[f32]>, text: Option<(&[u32], usize)>) -> Result<Vec<f32>> {
        match (pixels, text) {
            (Some(pixels), None) => self.image_features(Case::Complete, pixels),
            (None, Some((ids, end))) => self.text_features(Case::Complete, ids, end),
            _ => Err(one_side()),
        }
    }
}

fn one_side() -> Error {
    Error::Input("give either pixels or tokens; a side is embedded by itself".into())
}

/// A model of tensors on the device where it was loaded: as trained, or on a GPU.
pub struct OnDevice {
    /// The model.
    pub model: Model,
    /// Where its tensors are.
    pub device: Device,
}

impl Network for OnDevice {
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn head(&self) -> &dyn Head {
        self.model.head()
    }

    fn modalities(&self) -> Vec<Modality> {
        Modality::ALL.to_vec()
    }

    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<(Vec<usize>, Features)>> {
        let pixels: Vec<&[f32]> = posts.iter().filter_map(|p| p.pixels.as_deref()).collect();
        let texts: Vec<&(Vec<u32>, usize)> = posts.iter().filter_map(|p| p.text.as_ref()).collect();
        let (images, count) = (pixels.len(), texts.len());
        let side = self.model.config().clip.vision_config.image_size;
        let tokens = || -> Result<Tokens> {
            let ids: Vec<u32> = texts.iter().flat_map(|(ids, _)| ids).copied().collect();
            let ends: Vec<u32> = texts.iter().map(|(_, end)| *end as u32).collect();
            Ok(Tokens {
                ids: Tensor::from_vec(ids, (count, ()), &self.device)?,
                eot: Tensor::from_vec(ends, count, &self.device)?,
            })
        };
        let tensor = || Tensor::from_vec(pixels.concat(), (images, 3, side, side), &self.device);
        self.model.features(&Batch {
            cases: posts.iter().map(|post| post.case).collect(),
            pixels: (images > 0).then(tensor).transpose()?,
            tokens: (count > 0).then(tokens).transpose()?,
        })
    }

    fn kernel(&self) -> &str {
        if self.device.is_cpu() {
            "tensors"
        } else {
            "device"
        }
    }

    fn embed(&self, pixels: Option<&[f32]>, text: Option<(&[u32], usize)>) -> Result<Vec<f32>> {
        let prompts = |modality| self.model.prompts().tower(Case::Complete, modality);
        let features = match (pixels, text) {
            (Some(pixels), None) => {
                let side = self.model.config().clip.vision_config.image_size;
                let pixels = Tensor::from_slice(pixels, (1, 3, side, side), &self.device)?;
                self.model
                    .image_features(&pixels, Some(&prompts(Modality::Image)?))?
            }
            (None, Some((ids, end))) => {
                let tokens = Tokens {
                    ids: Tensor::from_slice(ids, (1, ids.len()), &self.device)?,
                    eot: Tensor::from_slice(&[end as u32], 1, &self.device)?,
                };
                self.model
                    .text_features(&tokens, Some(&prompts(Modality::Text)?))?
            }
            _ => return Err(one_side()),
        };
        Ok(features.flatten_all()?.to_vec1()?)
    }
}
