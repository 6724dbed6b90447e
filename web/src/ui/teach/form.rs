//! Owns the two forms of teaching: a class for the post on the bench, and another name for a class.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, HtmlElement, HtmlInputElement, HtmlOptionElement, HtmlSelectElement};

use crate::protocol::TaughtClass;
use crate::ui::dom::{append, by_id, listen};
use crate::ui::numbers::label;

/// The name of the class that the post is an example of.
pub(super) struct Naming {
    form: HtmlElement,
    name: HtmlInputElement,
    known: HtmlElement,
}

impl Naming {
    pub(super) fn find() -> Result<Self, JsValue> {
        Ok(Self {
            form: by_id("teach-form")?,
            name: by_id("teach-name")?,
            known: by_id("teach-names")?,
        })
    }

    /// Calls `add` with the name, which stays for the next example.
    pub(super) fn on_submit(&self, add: impl Fn(String) + 'static) -> Result<(), JsValue> {
        let name = self.name.clone();
        listen(&self.form, "submit", move |event: Event| {
            event.prevent_default();
            add(name.value().trim().to_owned());
        })
    }

    /// Offers the names of classes that were taught.
    pub(super) fn offer(&self, taught: &[TaughtClass]) -> Result<(), JsValue> {
        self.known.set_text_content(None);
        for class in taught {
            let option: HtmlOptionElement = append(&self.known, "option", "")?.unchecked_into();
            option.set_value(&class.name);
        }
        Ok(())
    }
}

/// Another name for a class.
pub(super) struct Renaming {
    form: HtmlElement,
    from: HtmlSelectElement,
    to: HtmlInputElement,
}

impl Renaming {
    pub(super) fn find() -> Result<Self, JsValue> {
        Ok(Self {
            form: by_id("rename-form")?,
            from: by_id("rename-from")?,
            to: by_id("rename-to")?,
        })
    }

    /// Calls `rename` with the name now and the other.
    pub(super) fn on_submit(
        &self,
        rename: impl Fn(String, String) + 'static,
    ) -> Result<(), JsValue> {
        let (from, to) = (self.from.clone(), self.to.clone());
        listen(&self.form, "submit", move |event: Event| {
            event.prevent_default();
            rename(from.value(), to.value().trim().to_owned());
            to.set_value("");
        })
    }

    /// Offers all classes.
    pub(super) fn offer(&self, classes: &[String]) -> Result<(), JsValue> {
        self.from.set_text_content(None);
        for class in classes {
            let option: HtmlOptionElement = append(&self.from, "option", "")?.unchecked_into();
            option.set_value(class);
            option.set_text_content(Some(&label(class)));
        }
        Ok(())
    }
}
