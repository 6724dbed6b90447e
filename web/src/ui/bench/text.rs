//! Owns the text side of the post: the field, and the button that empties it.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;
use web_sys::{Event, HtmlElement, HtmlTextAreaElement};

use crate::ui::dom::{by_id, listen, report, show, window};

/// The visitor is given this long to type on before the model is asked.
const PAUSE_MILLISECONDS: i32 = 180;

/// The text field.
pub struct Text {
    panel: HtmlElement,
    field: HtmlTextAreaElement,
    clear: HtmlElement,
}

impl Text {
    /// Finds the field in the page; `changed` is called with the text a moment after the visitor stopped typing.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find(changed: impl Fn(String) + 'static) -> Result<Rc<Self>, JsValue> {
        let text = Rc::new(Self {
            panel: by_id("text-side")?,
            field: by_id("text")?,
            clear: by_id("text-remove")?,
        });

        let tell: Rc<dyn Fn()> = {
            let field = text.field.clone();
            Rc::new(move || changed(field.value()))
        };
        let pending = Rc::new(Cell::new(None::<i32>));
        let after_pause = {
            let (tell, pending) = (Rc::clone(&tell), Rc::clone(&pending));
            Closure::<dyn FnMut()>::new(move || {
                pending.set(None);
                tell();
            })
        };
        let this = Rc::clone(&text);
        listen(&text.field, "input", move |_: Event| {
            this.decorate();
            report(window().and_then(|window| {
                if let Some(timer) = pending.take() {
                    window.clear_timeout_with_handle(timer);
                }
                let action = after_pause.as_ref().unchecked_ref();
                let timer = window.set_timeout_with_callback_and_timeout_and_arguments_0(
                    action,
                    PAUSE_MILLISECONDS,
                )?;
                pending.set(Some(timer));
                Ok(())
            }));
        })?;
        let this = Rc::clone(&text);
        listen(&text.clear, "click", move |_: Event| {
            this.set("");
            tell();
            report(this.field.focus());
        })?;
        text.decorate();
        Ok(text)
    }

    /// Puts a text into the field; does not call back.
    pub fn set(&self, text: &str) {
        self.field.set_value(text);
        self.decorate();
    }

    /// What stands in the field; a browser may have kept it from before a reload.
    pub fn value(&self) -> String {
        self.field.value()
    }

    /// Shows whether the side is there or missing.
    fn decorate(&self) {
        let missing = self.field.value().trim().is_empty();
        let _ = self
            .panel
            .class_list()
            .toggle_with_force("is-missing", missing);
        show(&self.clear, !missing);
    }
}
