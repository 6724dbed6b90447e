//! Owns the toggle that hides a side of the post from the model, without taking it away.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Event, HtmlElement};

use crate::protocol::Modality;
use crate::ui::dom::{by_id, listen, show};

/// A side's toggle, and the panel that it dims.
pub(super) struct Side {
    panel: HtmlElement,
    toggle: HtmlElement,
}

impl Side {
    /// Finds the toggle in the page; `hide` is called with whether the side is to be hidden.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub(super) fn find(
        modality: Modality,
        hide: impl Fn(bool) + 'static,
    ) -> Result<Rc<Self>, JsValue> {
        let name = modality.name();
        let side = Rc::new(Self {
            panel: by_id(&format!("{name}-side"))?,
            toggle: by_id(&format!("{name}-hide"))?,
        });
        let toggle = side.toggle.clone();
        listen(&side.toggle, "click", move |_: Event| {
            hide(toggle.get_attribute("aria-pressed").as_deref() != Some("true"));
        })?;
        Ok(side)
    }

    /// Offers the toggle where there is something to hide, and shows whether it is hidden.
    pub(super) fn show(&self, there: bool, hidden: bool) {
        show(&self.toggle, there);
        let hidden = there && hidden;
        let _ = self
            .toggle
            .set_attribute("aria-pressed", if hidden { "true" } else { "false" });
        let _ = self
            .panel
            .class_list()
            .toggle_with_force("is-hidden", hidden);
    }
}
