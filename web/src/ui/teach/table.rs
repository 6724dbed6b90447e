//! Owns the list of taught classes: their examples by case, and the button that forgets each.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Event, HtmlElement};

use crate::protocol::TaughtClass;
use crate::ui::dom::{append, by_id, listen, show};
use crate::ui::numbers::label;
use crate::ui::words;

/// Who hears that a class is to be forgotten.
type Listener = Rc<dyn Fn(String)>;

/// The list.
pub(super) struct Table {
    table: HtmlElement,
    body: HtmlElement,
    field: HtmlElement,
    forget: RefCell<Option<Listener>>,
}

impl Table {
    pub(super) fn find() -> Result<Self, JsValue> {
        Ok(Self {
            table: by_id("teach-table")?,
            body: by_id("teach-classes")?,
            field: by_id("teach-name")?,
            forget: RefCell::default(),
        })
    }

    /// Calls `forget` with the name of a class that is to be forgotten.
    pub(super) fn on_forget(&self, forget: impl Fn(String) + 'static) {
        *self.forget.borrow_mut() = Some(Rc::new(forget));
    }

    pub(super) fn show(&self, taught: &[TaughtClass]) -> Result<(), JsValue> {
        show(&self.table, !taught.is_empty());
        self.body.set_text_content(None);
        for class in taught {
            let line = append(&self.body, "tr", "")?;
            let name = append(&line, "th", "class-label")?;
            name.set_attribute("scope", "row")?;
            name.set_text_content(Some(&label(&class.name)));
            for count in class.examples {
                append(&line, "td", "figure")?.set_text_content(Some(&count.to_string()));
            }
            let button = append(&append(&line, "td", "")?, "button", "button is-quiet")?;
            button.set_attribute("type", "button")?;
            button.set_text_content(Some(&words::say("forget", &[])));
            append(&button, "span", "visually-hidden")?
                .set_text_content(Some(&format!(" {}", label(&class.name))));
            let (forget, name, field) = (
                self.forget.borrow().clone(),
                class.name.clone(),
                self.field.clone(),
            );
            listen(&button, "click", move |_: Event| {
                if let Some(forget) = &forget {
                    forget(name.clone());
                }
                // The button goes; the focus goes to where the next class is named.
                let _ = field.focus();
            })?;
        }
        Ok(())
    }
}
