//! Owns which class is looked at: the likeliest, unless the visitor chooses another.

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, HtmlOptionElement, HtmlSelectElement};

use crate::protocol::Prediction;
use crate::ui::dom::{append, by_id, listen};
use crate::ui::numbers::label;

/// The choice.
pub struct Chosen(HtmlSelectElement);

impl Chosen {
    /// Finds the choice in the page; `changed` is called when the visitor makes one.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find(changed: impl Fn() + 'static) -> Result<Rc<Self>, JsValue> {
        let select: HtmlSelectElement = by_id("chosen")?;
        listen(&select, "change", move |_: Event| changed())?;
        Ok(Rc::new(Self(select)))
    }

    /// Offers a prediction's classes, likeliest first, and chooses the first.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn offer(&self, prediction: &Prediction) -> Result<(), JsValue> {
        let options = self.0.options();
        options.set_length(prediction.classes.len() as u32);
        for (place, class) in prediction.classes.iter().enumerate() {
            let option = match options.item(place as u32) {
                Some(option) => option.unchecked_into::<HtmlOptionElement>(),
                None => append(&self.0, "option", "")?.unchecked_into(),
            };
            option.set_text_content(Some(&label(&class.label)));
            option.set_value(&class.index.to_string());
        }
        self.0.set_selected_index(0);
        Ok(())
    }

    /// The class, by its place in the order of the classes.
    pub fn class(&self) -> Option<usize> {
        self.0.value().parse().ok()
    }
}
