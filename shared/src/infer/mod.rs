//! Owns inference on packed weights: the classifier's forward pass where nothing is trained, one post at a time, in f32
//! or in bytes.
//!
//! It computes what [`crate::model::Model`] computes, to rounding: `tests/engine.rs` compares the two. The loops are
//! those of the crate `kernels`; nothing is allocated after the first post but what is handed out.

mod block;
mod image;
pub mod observer;
mod prompts;
mod text;
mod tower;
pub mod weights;

use std::sync::{Mutex, PoisonError};

use crate::case::{Case, Modality};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::head::{self, Answer, Background, FoldedHead};
use crate::model;
use crate::prompt;
use image::ImageTower;
/// Picks the fastest kernel for products in bytes, where only a trial tells which that is.
pub use kernels::choice::choose as choose_kernel;
use observer::Observer;
use prompts::Prompts;
use text::TextTower;
use tower::Memory;
use weights::Weights;

/// A folded classifier, ready to run.
pub struct Engine {
    config: ModelConfig,
    image: Option<ImageTower>,
    text: Option<TextTower>,
    /// By modality, then by case code.
    prompts: [[Option<Prompts>; 3]; 2],
    head: FoldedHead,
    memory: Mutex<Memory>,
}

impl Engine {
    /// Packs the weights of a folded model ([`crate::model::Model::fold`]) with the towers of `modalities`.
    ///
    /// # Errors
    /// If the configuration is impossible, or a tensor is missing or of another shape.
    pub fn load(
        config: &ModelConfig,
        modalities: &[Modality],
        mut weights: Weights,
    ) -> Result<Self> {
        model::check(config)?;
        let clip = &config.clip;
        let rows = prompt::plan(&config.prompt).rows();
        let [of_images, of_texts] =
            Modality::ALL.map(|modality| Prompts::load(rows, clip, modality, &mut weights));
        let (width, classes) = (clip.projection_dim, config.classes.len());
        let mut head = head::plan(&config.head).folded(width, classes, &mut weights)?;
        head.background = Background::take(&mut weights, width)?;
        let image = modalities.contains(&Modality::Image);
        let text = modalities.contains(&Modality::Text);
        Ok(Self {
            config: config.clone(),
            image: image
                .then(|| ImageTower::load(clip, &mut weights))
                .transpose()?,
            text: text
                .then(|| TextTower::load(clip, &mut weights))
                .transpose()?,
            prompts: [of_images?, of_texts?],
            head,
            memory: Mutex::default(),
        })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The head.
    pub fn head(&self) -> &FoldedHead {
        &self.head
    }

    /// The modalities whose towers were loaded.
    pub fn modalities(&self) -> Vec<Modality> {
        let loaded = [self.image.is_some(), self.text.is_some()];
        let both = Modality::ALL.into_iter().zip(loaded);
        both.filter(|(_, loaded)| *loaded)
            .map(|(of, _)| of)
            .collect()
    }

    /// Bytes of memory that the towers take.
    pub fn bytes(&self) -> usize {
        self.image.as_ref().map_or(0, ImageTower::bytes)
            + self.text.as_ref().map_or(0, TextTower::bytes)
    }

    /// The instruction set that the towers' products use.
    pub fn kernel(&self) -> &'static str {
        let image = self.image.as_ref().map(|tower| tower.encoder.kernel());
        let text = self.text.as_ref().map(|tower| tower.encoder.kernel());
        image.or(text).unwrap_or("none")
    }

    /// Image features `[D]` of preprocessed pixels [3, S, S] of a post of this case, not normalised.
    ///
    /// # Errors
    /// If the tower was not loaded, the case has no image, or the pixels are of another size.
    pub fn image_features(&self, case: Case, pixels: &[f32]) -> Result<Vec<f32>> {
        self.observed_image_features(case, pixels, &mut ())
    }

    /// As [`Engine::image_features`] while `observer` looks on.
    ///
    /// # Errors
    /// As [`Engine::image_features`].
    pub fn observed_image_features(
        &self,
        case: Case,
        pixels: &[f32],
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        let tower = self.image.as_ref().ok_or_else(|| absent(Modality::Image))?;
        let prompts = self.prompts(case, Modality::Image)?;
        tower.features(&mut self.memory(), pixels, prompts, observer)
    }

    /// Text features `[D]` of a post of this case, not normalised: `ids` padded to the context length, the end token at
    /// `end`.
    ///
    /// # Errors
    /// If the tower was not loaded, the case has no text, or the tokens are not of this model.
    pub fn text_features(&self, case: Case, ids: &[u32], end: usize) -> Result<Vec<f32>> {
        self.observed_text_features(case, ids, end, &mut ())
    }

    /// As [`Engine::text_features`] while `observer` looks on.
    ///
    /// # Errors
    /// As [`Engine::text_features`].
    pub fn observed_text_features(
        &self,
        case: Case,
        ids: &[u32],
        end: usize,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        let tower = self.text.as_ref().ok_or_else(|| absent(Modality::Text))?;
        let prompts = self.prompts(case, Modality::Text)?;
        tower.features(&mut self.memory(), ids, end, prompts, observer)
    }

    /// The features of one post as its head takes them, image and text.
    ///
    /// # Errors
    /// As [`Engine::image_features`] and [`Engine::text_features`].
    pub fn features(
        &self,
        case: Case,
        pixels: Option<&[f32]>,
        text: Option<(&[u32], usize)>,
    ) -> Result<[Option<Vec<f32>>; 2]> {
        let image = pixels.map(|pixels| self.image_features(case, pixels));
        let text = text.map(|(ids, end)| self.text_features(case, ids, end));
        Ok([image.transpose()?, text.transpose()?])
    }

    /// What the model says of one post.
    ///
    /// # Errors
    /// As [`Engine::features`].
    pub fn answer(
        &self,
        case: Case,
        pixels: Option<&[f32]>,
        text: Option<(&[u32], usize)>,
    ) -> Result<Answer> {
        self.head.answer(case, &self.features(case, pixels, text)?)
    }

    fn prompts(&self, case: Case, modality: Modality) -> Result<Option<&Prompts>> {
        if case.has(modality) {
            return Ok(self.prompts[modality as usize][case.index()].as_ref());
        }
        Err(Error::Input(format!(
            "posts with {case} have no {}",
            modality.name()
        )))
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        // Whoever panicked left buffers, of which the content is never read.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a modality cannot be read because its tower is not there.
pub(crate) fn absent(modality: Modality) -> Error {
    Error::Input(format!(
        "the classifier was loaded without its {name} tower; load it with both, or leave the {name} out",
        name = modality.name()
    ))
}
