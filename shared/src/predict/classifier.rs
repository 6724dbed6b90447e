//! Owns the classifier: a model with its preprocessing and what it was taught, from the bytes of posts to predictions.

use super::lessons::{Learnt, Lessons};
use super::network::{Network, PostFeatures, PreparedPost};
use super::{Prediction, Telling, probabilities};
use crate::bundle::{Calibration, Manifest};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::head::{Answer, FoldedHead};
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
    calibration: Option<Calibration>,
    learnt: Learnt,
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
        let learnt = Learnt::nothing("", &network.config().classes);
        Ok(Self {
            network: Box::new(network),
            images,
            tokenizer,
            calibration: None,
            learnt,
        })
    }

    /// As the classifier of a bundle: with its calibration, and an identity that lessons are tied to.
    #[must_use]
    pub(crate) fn of_bundle(mut self, manifest: &Manifest) -> Self {
        self.calibration.clone_from(&manifest.calibration);
        self.learnt = Learnt::nothing(&manifest.checksum, &manifest.config.classes);
        self
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
        let answers = self.answers(&posts)?;
        let predictions = posts.iter().zip(&answers).map(|(post, answer)| {
            let telling = Telling {
                task: self.network.config().task,
                classes: self.learnt.names(),
                evidence: self.network.evidence(),
                calibration: self.calibration.as_ref().map(|all| all.of(post.case)),
            };
            Prediction::new(post.case, answer, telling)
        });
        Ok(predictions.collect())
    }

    fn answers(&self, posts: &[PreparedPost]) -> Result<Vec<Answer>> {
        if !self.learnt.has_classes() {
            return self.network.answers(posts);
        }
        let features = self.network.features(posts)?;
        let both = posts.iter().zip(&features);
        both.map(|(post, features)| self.answer(post.case, features))
            .collect()
    }

    /// What is said of a post of this case with these features, of taught classes too.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    pub(super) fn answer(&self, case: Case, features: &PostFeatures) -> Result<Answer> {
        if !self.learnt.has_classes() {
            return self.network.answer(case, features);
        }
        let head = self.teachable()?;
        let inputs = head.inputs(case, features)?;
        let mut answer = head.answer_of_inputs(case, &inputs);
        self.learnt.extend(head, case, &inputs, &mut answer);
        Ok(answer)
    }

    /// The probabilities of logits of a post of this case, in the order of the classes.
    pub(super) fn probabilities(&self, case: Case, logits: &[f32]) -> Vec<f32> {
        let calibration = self.calibration.as_ref().map(|all| all.of(case));
        let temperature = calibration.map_or(1.0, |of| of.temperature);
        probabilities(self.network.config().task, logits, temperature as f32)
    }

    /// Adds a post to a class of people's own, which is a new one if no class has the name. A complete post also teaches
    /// the two cases in which one of its sides is missing.
    ///
    /// # Errors
    /// If the class is one of the bundle's or its name none that a class can have, the classifier cannot be taught, or the
    /// post cannot be classified.
    pub fn teach(&mut self, class: &str, post: RawPost<'_>) -> Result<()> {
        self.teachable()?;
        let post = self.prepare_one(&post)?;
        let parts = post.parts();
        let features = self.network.features(&parts)?;
        let head = teachable(self.network.as_ref())?;
        let inputs = parts.iter().zip(&features);
        let inputs =
            inputs.map(|(part, features)| Ok((part.case, head.inputs(part.case, features)?)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        self.learnt.teach(class, post.case, &inputs, head)
    }

    /// Gives a class of the bundle, or a taught one, another name.
    ///
    /// # Errors
    /// If there is no such class, the name is taken, or it is none that a class can have.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.learnt.rename(from, to)
    }

    /// Removes a taught class.
    ///
    /// # Errors
    /// If there is no such class, or it is one of the bundle's.
    pub fn forget(&mut self, class: &str) -> Result<()> {
        self.learnt.forget(class, teachable(self.network.as_ref())?)
    }

    /// Replaces all that was taught by what a file says ([`Lessons::file`]).
    ///
    /// # Errors
    /// If the file is damaged, of a newer version or of another bundle, has what cannot have been taught, or the
    /// classifier cannot be taught. What was taught before then stays.
    pub fn learn(&mut self, file: &str) -> Result<()> {
        self.learnt = self.learnt.of_file(file, self.teachable()?)?;
        Ok(())
    }

    /// Forgets all that was taught, names too.
    pub fn forget_all(&mut self) {
        self.learnt = self.learnt.forgotten();
    }

    /// All that was taught.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn lessons(&self) -> Result<Lessons> {
        self.learnt.lessons()
    }

    /// The head, if it can be taught and lessons can be tied to where it comes from.
    fn teachable(&self) -> Result<&FoldedHead> {
        if self.learnt.is_of_bundle() {
            return teachable(self.network.as_ref());
        }
        Err(Error::Input(
            "only the classifier of a bundle can be taught; export the model first".into(),
        ))
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

/// The network's head, if it can be taught.
fn teachable(network: &dyn Network) -> Result<&FoldedHead> {
    let head = network.head().ok_or_else(|| {
        Error::Input(
            "a classifier that runs on tensors cannot be taught; load the bundle on the processor"
                .into(),
        )
    })?;
    head.check_teachable()?;
    Ok(head)
}

/// Says which of several posts an error is about.
fn placed(error: Error, index: usize, count: usize) -> Error {
    if count < 2 {
        error
    } else {
        Error::Input(format!("post {} of {count}: {error}", index + 1))
    }
}
