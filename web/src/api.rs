//! Owns the one surface of the classifier towards JavaScript. Its results are plain objects, equal to the JSON that the
//! native program prints.

use js_sys::{Date, Function, Reflect, Uint8Array};
use shared::Case;
use shared::bundle::Dtype;
use shared::predict::{Explainer, Lessons, Prediction, RawPost};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::loader::{self, Order};
use crate::protocol::{Code, Failure, Modality, Summary, to_js};
use crate::source::Source;

/// A loaded classifier.
#[wasm_bindgen]
pub struct Classifier {
    classifier: shared::predict::Classifier,
    summary: Summary,
}

#[wasm_bindgen]
impl Classifier {
    /// Loads the bundle whose folder is at `url`, with the slash at its end. `onProgress` is called with the bytes
    /// received and their total. `threads` is how many threads compute, for the artefact that has threads. `only` is
    /// `image` or `text` where the other side is never classified: its tower is not fetched.
    ///
    /// # Errors
    /// A failure `{code, message, hint}`.
    pub async fn load(
        url: String,
        on_progress: Option<Function>,
        threads: Option<u32>,
        only: Option<String>,
    ) -> Result<Classifier, JsValue> {
        let only = only
            .map(|name| modality(&name).map_err(|failure| thrown(&failure)))
            .transpose()?;
        let progress = |loaded: u64, total: u64| {
            if let Some(hear) = &on_progress {
                // What a listener throws is its own affair.
                let _ = hear.call2(
                    &JsValue::NULL,
                    &(loaded as f64).into(),
                    &(total as f64).into(),
                );
            }
        };
        let order = Order {
            source: Source::Address(url),
            threads,
            only,
            keep: false,
        };
        Self::open(order, progress)
            .await
            .map_err(|failure| thrown(&failure))
    }

    /// What was loaded: `{about, classes, dtype, bytes, kept, artefact, threads}`.
    ///
    /// # Errors
    /// None in practice.
    #[wasm_bindgen(getter)]
    pub fn summary(&self) -> Result<JsValue, JsValue> {
        to_js(&self.summary)
    }

    /// Classifies a post of an image file's bytes, a text, or both; at least one must be there.
    ///
    /// # Errors
    /// A failure `{code, message, hint}`.
    pub fn classify(
        &self,
        image: Option<Uint8Array>,
        text: Option<String>,
    ) -> Result<JsValue, JsValue> {
        let image = image.map(|image| image.to_vec());
        let prediction = self
            .predict(image.as_deref(), text.as_deref())
            .map_err(|failure| thrown(&failure))?;
        to_js(&prediction)
    }

    /// The projected features `[D]` of preprocessed pixels [3, S, S] of a complete post, not normalised: what other
    /// measures of likeness than this classifier's can use.
    ///
    /// # Errors
    /// A failure `{code, message, hint}`.
    #[wasm_bindgen(js_name = embedImage)]
    pub fn embed_image(&self, pixels: Vec<f32>) -> Result<Vec<f32>, JsValue> {
        self.embed(Some(pixels), None)
    }

    /// The projected features `[D]` of token ids of a complete post, padded to the context length, the end token's
    /// index in `end`; not normalised.
    ///
    /// # Errors
    /// A failure `{code, message, hint}`.
    #[wasm_bindgen(js_name = embedTokens)]
    pub fn embed_tokens(&self, ids: Vec<u32>, end: usize) -> Result<Vec<f32>, JsValue> {
        self.embed(None, Some((ids, end)))
    }

    /// The instruction set that the products use.
    #[wasm_bindgen(getter)]
    pub fn kernel(&self) -> String {
        self.classifier.network().kernel().to_owned()
    }

    fn embed(
        &self,
        pixels: Option<Vec<f32>>,
        text: Option<(Vec<u32>, usize)>,
    ) -> Result<Vec<f32>, JsValue> {
        let network = self.classifier.network();
        network
            .embed(
                Case::Complete,
                pixels.as_deref(),
                text.as_ref().map(|(ids, end)| (&ids[..], *end)),
            )
            .map_err(|error| thrown(&loader::failure(error)))
    }
}

impl Classifier {
    /// [`Classifier::load`] for Rust.
    ///
    /// # Errors
    /// As [`loader::load`].
    pub async fn open(order: Order, progress: impl FnMut(u64, u64)) -> Result<Self, Failure> {
        let (classifier, summary) = loader::load(order, progress).await?;
        if summary.dtype == Dtype::Int8 {
            shared::infer::choose_kernel(clock());
        }
        Ok(Self {
            classifier,
            summary,
        })
    }

    /// [`Classifier::summary`] for Rust.
    pub fn about(&self) -> &Summary {
        &self.summary
    }

    /// [`Classifier::classify`] for Rust.
    ///
    /// # Errors
    /// If both sides are missing, or the image cannot be decoded.
    pub fn predict(&self, image: Option<&[u8]>, text: Option<&str>) -> Result<Prediction, Failure> {
        self.classifier
            .classify(image, text)
            .map_err(loader::failure)
    }
}

/// What can be taught, and what was.
impl Classifier {
    /// As [`shared::predict::Classifier::teach`].
    ///
    /// # Errors
    /// If the class or the post cannot be used, or the head cannot be taught.
    pub fn teach(
        &mut self,
        class: &str,
        image: Option<&[u8]>,
        text: Option<&str>,
    ) -> Result<Lessons, Failure> {
        self.change(|classifier| classifier.teach(class, RawPost { image, text }))
    }

    /// As [`shared::predict::Classifier::rename`].
    ///
    /// # Errors
    /// If there is no such class, or the name cannot be used.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<Lessons, Failure> {
        self.change(|classifier| classifier.rename(from, to))
    }

    /// As [`shared::predict::Classifier::forget`].
    ///
    /// # Errors
    /// If there is no such taught class.
    pub fn forget(&mut self, class: &str) -> Result<Lessons, Failure> {
        self.change(|classifier| classifier.forget(class))
    }

    /// As [`shared::predict::Classifier::learn`]; without a file, everything is forgotten.
    ///
    /// # Errors
    /// If the file is none of this bundle's lessons.
    pub fn learn(&mut self, file: Option<&str>) -> Result<Lessons, Failure> {
        self.change(|classifier| match file {
            Some(file) => classifier.learn(file),
            None => {
                classifier.forget_all();
                Ok(())
            }
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut shared::predict::Classifier) -> shared::Result<()>,
    ) -> Result<Lessons, Failure> {
        change(&mut self.classifier)
            .and_then(|()| self.classifier.lessons())
            .map_err(loader::failure)
    }
}

impl Classifier {
    /// Begins to explain the score of a class, by its place.
    ///
    /// # Errors
    /// If the post cannot be classified, or there is no such class.
    pub fn explainer(
        &self,
        image: Option<&[u8]>,
        text: Option<&str>,
        class: usize,
    ) -> Result<Explainer, Failure> {
        let post = RawPost { image, text };
        Explainer::new(&self.classifier, &post, class).map_err(loader::failure)
    }

    /// Goes on with an explanation; false if nothing is left to do.
    ///
    /// # Errors
    /// If a tower fails.
    pub fn explain(&self, explainer: &mut Explainer) -> Result<bool, Failure> {
        explainer.step(&self.classifier).map_err(loader::failure)
    }
}

/// The browser's clock in milliseconds, in a page, a worker or Node.
fn clock() -> impl FnMut() -> f64 {
    let of = |object: &JsValue, name: &str| Reflect::get(object, &name.into()).unwrap_or_default();
    let performance = of(&js_sys::global(), "performance");
    let now = of(&performance, "now").dyn_into::<Function>().ok();
    move || {
        let time = now.as_ref().and_then(|now| now.call0(&performance).ok());
        time.and_then(|time| time.as_f64())
            .unwrap_or_else(Date::now)
    }
}

/// The modality of this name.
fn modality(name: &str) -> Result<Modality, Failure> {
    let found = Modality::ALL.into_iter().find(|own| own.name() == name);
    found.ok_or_else(|| {
        Failure::new(
            Code::Input,
            format!("There is no modality {name:?}."),
            "Load \"image\", \"text\", or leave it out for both.",
        )
    })
}

/// A failure as it is thrown.
fn thrown(failure: &Failure) -> JsValue {
    to_js(failure).unwrap_or_else(|error| error)
}
