//! Owns the question before a large model is fetched: how much it is, and the button that says yes.

use wasm_bindgen::JsValue;
use web_sys::{Event, HtmlElement};

use super::dom::{by_id, listen, show};
use super::numbers::bytes;
use super::offer::Offer;
use super::words;

/// The question.
pub struct Question {
    panel: HtmlElement,
    text: HtmlElement,
}

impl Question {
    /// Finds the question in the page; `agreed` hears that the visitor wants the model.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find(agreed: impl Fn() + 'static) -> Result<Self, JsValue> {
        let button: HtmlElement = by_id("question-load")?;
        listen(&button, "click", move |_: Event| agreed())?;
        Ok(Self {
            panel: by_id("question")?,
            text: by_id("question-text")?,
        })
    }

    /// Asks whether this model may be fetched.
    pub fn ask(&self, offer: &Offer) {
        let question = words::say("question", &[&offer.name(), &bytes(offer.bytes)]);
        self.text.set_text_content(Some(&question));
        show(&self.panel, true);
    }

    /// Asks no more: a model was chosen.
    pub fn answered(&self) {
        show(&self.panel, false);
    }
}
