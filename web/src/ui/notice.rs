//! Owns the notice: what went wrong, and the way out, as sentences.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Event, HtmlElement};

use super::dom::{by_id, listen, show};
use super::numbers::sentence;
use super::views;
use crate::protocol::Failure;

/// The notice, with a button to start again where that helps and one to dismiss it.
pub struct Notice {
    panel: HtmlElement,
    message: HtmlElement,
    hint: HtmlElement,
    again: HtmlElement,
}

impl Notice {
    /// Finds the notice in the page.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find() -> Result<Rc<Self>, JsValue> {
        let notice = Rc::new(Self {
            panel: by_id("notice")?,
            message: by_id("notice-message")?,
            hint: by_id("notice-hint")?,
            again: by_id("notice-again")?,
        });
        let this = Rc::clone(&notice);
        listen(
            &by_id::<HtmlElement>("notice-close")?,
            "click",
            move |_: Event| {
                this.clear();
                // The button is gone: the focus goes to what can be done next in the view that is shown.
                let view = views::shown();
                let next = if view == "post" {
                    "text".into()
                } else {
                    format!("{view}-title")
                };
                if let Ok(next) = by_id::<HtmlElement>(&next) {
                    let _ = next.focus();
                }
            },
        )?;
        Ok(notice)
    }

    /// Calls `again` when the visitor wants the model started again.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn on_again(self: &Rc<Self>, again: impl Fn() + 'static) -> Result<(), JsValue> {
        let this = Rc::clone(self);
        listen(&self.again, "click", move |_: Event| {
            this.clear();
            again();
        })
    }

    /// Says what failed; with `restart`, offers to start the model again.
    pub fn say(&self, failure: &Failure, restart: bool) {
        // Shown before it is filled: only a change inside a visible alert is read out.
        show(&self.panel, true);
        show(&self.again, restart);
        self.message
            .set_text_content(Some(&sentence(&failure.message)));
        self.hint.set_text_content(Some(&failure.hint));
    }

    /// Takes the notice away unless it offers to start the model again.
    pub fn clear_of_posts(&self) {
        if self.again.hidden() {
            self.clear();
        }
    }

    /// Takes the notice away.
    pub fn clear(&self) {
        show(&self.panel, false);
        self.message.set_text_content(None);
        self.hint.set_text_content(None);
    }
}
