//! Owns the image side of the post: picking a picture or taking one that was dropped, its preview, and taking it away.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{DataTransfer, Event, File, HtmlElement, HtmlImageElement, HtmlInputElement, Url};

use super::post::Picture;
use crate::ui::dom::{by_id, listen, report, show};

/// What the visitor did with the image side.
pub enum Change {
    /// Picked, dropped or pasted a file.
    File(File),
    /// Dropped or pasted words outside the text field.
    Words(String),
    /// Dropped an address: the page makes no requests, so it cannot be fetched.
    Address,
    /// Took the picture away.
    Removed,
}

/// The image side.
pub struct PictureBox {
    panel: HtmlElement,
    chosen: HtmlElement,
    preview: HtmlImageElement,
    name: HtmlElement,
    remove: HtmlElement,
    input: HtmlInputElement,
}

impl PictureBox {
    /// Finds the image side in the page and listens.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find(changed: impl Fn(Change) + 'static) -> Result<Rc<Self>, JsValue> {
        let side = Rc::new(Self {
            panel: by_id("image-side")?,
            chosen: by_id("image-chosen")?,
            preview: by_id("image-preview")?,
            name: by_id("image-name")?,
            remove: by_id("image-remove")?,
            input: by_id("image-file")?,
        });
        let changed: Rc<dyn Fn(Change)> = Rc::new(changed);
        side.listen_to_picking(changed)?;
        Ok(side)
    }

    /// Shows the picture, or that it is missing.
    pub fn show(&self, picture: Option<&Picture>) {
        let _ = self
            .panel
            .class_list()
            .toggle_with_force("is-missing", picture.is_none());
        show(&self.chosen, picture.is_some());
        show(&self.remove, picture.is_some());
        let old = self.preview.src();
        if let Some(picture) = picture {
            self.preview.set_src(&picture.address);
            self.name.set_text_content(Some(&picture.name));
        } else {
            report(self.preview.remove_attribute("src"));
            self.name.set_text_content(None);
        }
        if old.starts_with("blob:") && picture.is_none_or(|picture| picture.address != old) {
            report(Url::revoke_object_url(&old));
        }
    }

    fn listen_to_picking(&self, changed: Rc<dyn Fn(Change)>) -> Result<(), JsValue> {
        let (input, tell) = (self.input.clone(), Rc::clone(&changed));
        listen(&self.input, "change", move |_: Event| {
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                tell(Change::File(file));
            }
            // So that the same file can be chosen again.
            input.set_value("");
        })?;
        let input = self.input.clone();
        listen(&self.remove, "click", move |_: Event| {
            changed(Change::Removed);
            // The button is gone: the focus goes to what can be done next.
            report(input.focus());
        })
    }
}

/// What a drop or a paste carries: a file before words, words before a bare address.
pub(in crate::ui) fn change_of(data: &DataTransfer) -> Option<Change> {
    if let Some(file) = data.files().and_then(|files| files.get(0)) {
        return Some(Change::File(file));
    }
    if data
        .get_data("text/uri-list")
        .is_ok_and(|list| !list.is_empty())
    {
        return Some(Change::Address);
    }
    data.get_data("text/plain")
        .ok()
        .filter(|words| !words.is_empty())
        .map(Change::Words)
}
