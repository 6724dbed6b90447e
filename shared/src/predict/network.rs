//! Owns what a classifier needs of a network: what it says of prepared posts, and their features.

use candle_core::{Device, Tensor};

use crate::case::{Case, Modality};
use crate::clip::Tokens;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::head::{Answer, Evidence, FoldedHead};
use crate::infer::Engine;
use crate::model::{Batch, Features, Model};

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

impl PreparedPost {
    /// The post as it is and, if it is complete, with either side taken away.
    pub fn parts(&self) -> Vec<Self> {
        let mut parts = vec![self.clone()];
        if self.case == Case::Complete {
            parts.push(Self {
                case: Case::TextMissing,
                text: None,
                ..self.clone()
            });
            parts.push(Self {
                case: Case::ImageMissing,
                pixels: None,
                ..self.clone()
            });
        }
        parts
    }

    fn text(&self) -> Option<(&[u32], usize)> {
        let text = self.text.as_ref();
        text.map(|(ids, end)| (ids.as_slice(), *end))
    }
}

/// The features of one post, image and text.
pub type PostFeatures = [Option<Vec<f32>>; 2];

/// A classifier's network: towers, prompts and head.
pub trait Network: Send + Sync {
    /// What the model is.
    fn config(&self) -> &ModelConfig;

    /// What the parts of an answer are measured in.
    fn evidence(&self) -> Evidence;

    /// The head on plain values, if the network has it so: what can be taught.
    fn head(&self) -> Option<&FoldedHead> {
        None
    }

    /// The modalities whose towers are there.
    fn modalities(&self) -> Vec<Modality>;

    /// What the network says of each post.
    ///
    /// # Errors
    /// If a post does not fit the model.
    fn answers(&self, posts: &[PreparedPost]) -> Result<Vec<Answer>>;

    /// The features `[D]` of each post, image and text, not normalised; absent where the modality is missing.
    ///
    /// # Errors
    /// If a post does not fit the model.
    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<PostFeatures>>;

    /// The instruction set or device that the products use.
    fn kernel(&self) -> &str;

    /// The features `[D]` of one side of a post of this case: of pixels [3, S, S], or of token ids and the end token's
    /// index; not normalised.
    ///
    /// # Errors
    /// If neither or both are given, or what is given does not fit the case or the model.
    fn embed(
        &self,
        case: Case,
        pixels: Option<&[f32]>,
        text: Option<(&[u32], usize)>,
    ) -> Result<Vec<f32>>;

    /// What the head says of a post of this case with these features.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    fn answer(&self, case: Case, features: &PostFeatures) -> Result<Answer>;
}

/// One post after the other, on packed weights.
impl Network for Engine {
    fn config(&self) -> &ModelConfig {
        self.config()
    }

    fn evidence(&self) -> Evidence {
        self.head().evidence()
    }

    fn head(&self) -> Option<&FoldedHead> {
        Some(self.head())
    }

    fn modalities(&self) -> Vec<Modality> {
        self.modalities()
    }

    fn answers(&self, posts: &[PreparedPost]) -> Result<Vec<Answer>> {
        let one = |post: &PreparedPost| self.answer(post.case, post.pixels.as_deref(), post.text());
        posts.iter().map(one).collect()
    }

    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<PostFeatures>> {
        let one =
            |post: &PreparedPost| self.features(post.case, post.pixels.as_deref(), post.text());
        posts.iter().map(one).collect()
    }

    fn kernel(&self) -> &str {
        self.kernel()
    }

    fn embed(
        &self,
        case: Case,
        pixels: Option<&[f32]>,
        text: Option<(&[u32], usize)>,
    ) -> Result<Vec<f32>> {
        match (pixels, text) {
            (Some(pixels), None) => self.image_features(case, pixels),
            (None, Some((ids, end))) => self.text_features(case, ids, end),
            _ => Err(one_side()),
        }
    }

    fn answer(&self, case: Case, features: &PostFeatures) -> Result<Answer> {
        self.head().answer(case, features)
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

impl OnDevice {
    /// The features of posts in groups of one case each, with the places of their posts.
    fn groups(&self, posts: &[PreparedPost]) -> Result<Vec<(Vec<usize>, Features)>> {
        let pixels: Vec<&[f32]> = posts.iter().filter_map(|p| p.pixels.as_deref()).collect();
        let texts: Vec<&(Vec<u32>, usize)> = posts.iter().filter_map(|p| p.text.as_ref()).collect();
        let (images, count) = (pixels.len(), texts.len());
        let side = self.model.config().clip.vision_config.image_size;
        let tokens = || -> Result<Tokens> {
            let ids: Vec<u32> = texts.iter().flat_map(|(ids, _)| ids).copied().collect();
            Ok(Tokens {
                ids: Tensor::from_vec(ids, (count, ()), &self.device)?,
                eot: texts.iter().map(|(_, end)| *end).collect(),
            })
        };
        let tensor = || Tensor::from_vec(pixels.concat(), (images, 3, side, side), &self.device);
        self.model.features(&Batch {
            cases: posts.iter().map(|post| post.case).collect(),
            pixels: (images > 0).then(tensor).transpose()?,
            tokens: (count > 0).then(tokens).transpose()?,
        })
    }
}

impl OnDevice {
    /// What the head says of each post of one case.
    fn said(&self, features: &Features) -> Result<Vec<Answer>> {
        let head = self.model.head();
        let logits = rows(&head.logits(features.case, &head.scores(features)?)?)?;
        let [image, text] = head.contributions(features)?;
        let parts = [of_posts(image.as_ref())?, of_posts(text.as_ref())?];
        let answers = logits.into_iter().enumerate().map(|(row, logits)| Answer {
            logits,
            parts: parts
                .each_ref()
                .map(|of| of.as_ref().map(|of| of[row].clone())),
        });
        Ok(answers.collect())
    }
}

/// The rows of a tensor with a row for each post, if there is one.
fn of_posts(tensor: Option<&Tensor>) -> Result<Option<Vec<Vec<f32>>>> {
    tensor.map(rows).transpose()
}

fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(tensor.to_vec2::<f32>()?)
}

impl Network for OnDevice {
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn evidence(&self) -> Evidence {
        self.model.head().evidence()
    }

    fn modalities(&self) -> Vec<Modality> {
        Modality::ALL.to_vec()
    }

    fn answers(&self, posts: &[PreparedPost]) -> Result<Vec<Answer>> {
        let mut answers = vec![None; posts.len()];
        for (places, features) in self.groups(posts)? {
            for (place, answer) in places.into_iter().zip(self.said(&features)?) {
                answers[place] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn features(&self, posts: &[PreparedPost]) -> Result<Vec<PostFeatures>> {
        let mut all = vec![[None, None]; posts.len()];
        for (places, features) in self.groups(posts)? {
            for modality in Modality::ALL {
                let rows = of_posts(features.get(modality))?;
                for (&place, row) in places.iter().zip(rows.into_iter().flatten()) {
                    all[place][modality as usize] = Some(row);
                }
            }
        }
        Ok(all)
    }

    fn kernel(&self) -> &str {
        if self.device.is_cpu() {
            "tensors"
        } else {
            "device"
        }
    }

    fn embed(
        &self,
        case: Case,
        pixels: Option<&[f32]>,
        text: Option<(&[u32], usize)>,
    ) -> Result<Vec<f32>> {
        let prompts = |modality| self.model.prompts().tower(case, modality);
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
                    eot: vec![end],
                };
                self.model
                    .text_features(&tokens, Some(&prompts(Modality::Text)?))?
            }
            _ => return Err(one_side()),
        };
        Ok(features.flatten_all()?.to_vec1()?)
    }

    fn answer(&self, case: Case, features: &PostFeatures) -> Result<Answer> {
        let tensor = |of: &Option<Vec<f32>>| -> Result<Option<Tensor>> {
            let of = of.as_deref();
            of.map(|of| Ok(Tensor::from_slice(of, (1, of.len()), &self.device)?))
                .transpose()
        };
        let features = Features {
            case,
            image: tensor(&features[0])?,
            text: tensor(&features[1])?,
        };
        let said = self.said(&features)?.pop();
        said.ok_or_else(|| Error::Input("nothing was predicted".into()))
    }
}
