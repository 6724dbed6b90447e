//! Owns what a class's score rests on: parts of a post are taken away, one after the other, and the fall is noted.
//!
//! This is occlusion: a part of the picture is painted over with the colour around it, a word is left out of the text.
//! It holds for every prompt and head, because it asks the model itself. The score is the class's log odds, the
//! logarithm of p / (1 - p), which still moves where probabilities are all but 0 or 1. The case stays what it was: a
//! picture that is painted over is no missing picture. Whether the maps are right is tested on the post itself: the
//! parts that they mark are taken away together, and as many others drawn at random ([`Removal`]).

mod picture;
mod removal;
mod words;

use serde::{Deserialize, Serialize};

use super::classifier::{Classifier, RawPost};
use super::network::{PostFeatures, PreparedPost};
use crate::case::Case;
use crate::config::Task;
use crate::error::{Error, Result};
use picture::Picture;
use removal::Trial;
use words::Words;

pub use picture::ImageMap;
pub use removal::Removal;
pub use words::TextMap;

/// What the score of a class rests on in a post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The class, by its place in the order of the classes.
    pub class: usize,
    /// Which modalities the post had.
    pub case: Case,
    /// By place in the picture; absent if the post has none.
    pub image: Option<ImageMap>,
    /// By word; absent if the post has no text.
    pub text: Option<TextMap>,
}

/// Makes an explanation in steps of one pass through one tower each, so that others can be answered in between.
pub struct Explainer {
    class: usize,
    post: PreparedPost,
    features: PostFeatures,
    /// Of the post as it is: log odds and probability.
    whole: Score,
    image: Option<Picture>,
    text: Option<Words>,
}

#[derive(Clone, Copy, Default)]
struct Score {
    odds: f32,
    probability: f32,
}

impl Explainer {
    /// Begins with a post and a class by its place.
    ///
    /// # Errors
    /// If the post cannot be classified, or there is no such class.
    pub fn new(classifier: &Classifier, raw: &RawPost<'_>, class: usize) -> Result<Self> {
        let post = classifier.prepare_one(raw)?;
        let mut features = classifier.network().features(std::slice::from_ref(&post))?;
        let features = features.pop().unwrap_or_default();
        let mut this = Self {
            class,
            whole: Score::default(),
            image: None,
            text: None,
            features,
            post,
        };
        this.whole = this.score(classifier, &this.features)?;
        if let (Some(bytes), Some(_)) = (raw.image, &this.post.pixels) {
            this.image = Some(Picture::new(classifier, bytes)?);
        }
        if let (Some(text), Some(_)) = (raw.text, &this.post.text) {
            this.text = Some(Words::new(classifier, text));
        }
        Ok(this)
    }

    /// Takes one more part away; false if nothing is left to do.
    ///
    /// # Errors
    /// If a tower fails.
    pub fn step(&mut self, classifier: &Classifier) -> Result<bool> {
        if let Some(mut picture) = self.image.take() {
            let done = self.step_picture(classifier, &mut picture);
            self.image = Some(picture);
            if done? {
                return Ok(true);
            }
        }
        if let Some(mut words) = self.text.take() {
            let done = self.step_words(classifier, &mut words);
            self.text = Some(words);
            return done;
        }
        Ok(false)
    }

    /// How many steps there are, at most.
    pub fn steps(&self) -> usize {
        let image = self.image.as_ref().map_or(0, Picture::windows);
        let text = self.text.as_ref().map_or(0, |words| words.words.len());
        let sides = usize::from(self.image.is_some()) + usize::from(self.text.is_some());
        image + text + sides * Trial::PASSES
    }

    /// What was found.
    pub fn finish(self) -> Explanation {
        let whole = self.whole;
        Explanation {
            class: self.class,
            case: self.post.case,
            image: self.image.map(|picture| picture.finish(whole)),
            text: self.text.map(|words| words.finish(whole)),
        }
    }

    fn step_picture(&self, classifier: &Classifier, picture: &mut Picture) -> Result<bool> {
        if picture.step < picture.windows() {
            let cells = picture.window(picture.step);
            let score = self.without_cells(classifier, picture, &cells)?;
            picture.note(&cells, self.whole.odds - score.odds);
            return Ok(true);
        }
        let Some(parts) = picture.trial.next(&picture.cells()) else {
            return Ok(false);
        };
        let score = self.without_cells(classifier, picture, &parts)?;
        picture.trial.scores.push(score);
        Ok(true)
    }

    fn step_words(&self, classifier: &Classifier, words: &mut Words) -> Result<bool> {
        if let Some(&word) = words.words.get(words.falls.len()) {
            let score = self.without_words(classifier, words, &[word])?;
            words.falls.push(self.whole.odds - score.odds);
            return Ok(true);
        }
        let Some(parts) = words.trial.next(&words.falls) else {
            return Ok(false);
        };
        let parts: Vec<usize> = parts.into_iter().map(|part| words.words[part]).collect();
        let score = self.without_words(classifier, words, &parts)?;
        words.trial.scores.push(score);
        Ok(true)
    }

    /// The score with cells of the picture painted over.
    fn without_cells(
        &self,
        classifier: &Classifier,
        picture: &Picture,
        cells: &[usize],
    ) -> Result<Score> {
        let mut pixels = self.post.pixels.clone().unwrap_or_default();
        picture.paint(&mut pixels, cells);
        let found = classifier
            .network()
            .embed(self.post.case, Some(&pixels), None)?;
        self.score(classifier, &[Some(found), self.features[1].clone()])
    }

    /// The score with words left out, by their places among the pieces.
    fn without_words(
        &self,
        classifier: &Classifier,
        words: &Words,
        left_out: &[usize],
    ) -> Result<Score> {
        let (ids, end) = classifier.tokens(&words.without(left_out))?;
        let found = classifier
            .network()
            .embed(self.post.case, None, Some((&ids, end)))?;
        self.score(classifier, &[self.features[0].clone(), Some(found)])
    }

    fn score(&self, classifier: &Classifier, features: &PostFeatures) -> Result<Score> {
        let case = self.post.case;
        let logits = classifier.answer(case, features)?.logits;
        let task = classifier.network().config().task;
        let own = *logits.get(self.class).ok_or_else(|| {
            Error::Input(format!(
                "there is no class {}; there are {}",
                self.class,
                logits.len()
            ))
        })?;
        let others = || {
            let others = logits.iter().enumerate();
            others
                .filter(|(place, _)| *place != self.class)
                .map(|(_, logit)| *logit)
        };
        let odds = match task {
            Task::MultiLabel => own,
            Task::MultiClass => {
                let most = others().fold(f32::MIN, f32::max);
                let sum: f32 = others().map(|logit| (logit - most).exp()).sum();
                own - most - sum.max(f32::MIN_POSITIVE).ln()
            }
        };
        Ok(Score {
            odds,
            probability: classifier.probabilities(case, &logits)[self.class],
        })
    }
}
