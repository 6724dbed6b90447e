//! Owns the image side of the post: picking, dropping and pasting a picture, its preview, and taking it away.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{
    ClipboardEvent, DataTransfer, DragEvent, Event, File, HtmlElement, HtmlImageElement,
    HtmlInputElement, Url,
};

use super::post::Picture;
use crate::ui::dom::{by_id, document, listen, report, show};

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
        side.listen_to_picking(Rc::clone(&changed))?;
        side.listen_to_dropping(Rc::clone(&changed))?;
        listen_to_pasting(changed)?;
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

    /// The whole page takes drops, so that no aim is needed and a miss does not navigate away.
    fn listen_to_dropping(&self, changed: Rc<dyn Fn(Change)>) -> Result<(), JsValue> {
        let document = document()?;
        let panel = self.panel.clone();
        listen(&document, "dragover", move |event: DragEvent| {
            event.prevent_default();
            report(panel.class_list().add_1("is-target"));
        })?;
        let panel = self.panel.clone();
        listen(&document, "dragleave", move |event: DragEvent| {
            if event.related_target().is_none() {
                report(panel.class_list().remove_1("is-target"));
            }
        })?;
        let panel = self.panel.clone();
        listen(&document, "drop", move |event: DragEvent| {
            event.prevent_default();
            report(panel.class_list().remove_1("is-target"));
            if let Some(change) = event.data_transfer().and_then(|data| change_of(&data)) {
                changed(change);
            }
        })
    }
}

/// Pasting works anywhere; words pasted into the text field stay the field's own business.
fn listen_to_pasting(changed: Rc<dyn Fn(Change)>) -> Result<(), JsValue> {
    listen(&document()?, "paste", move |event: ClipboardEvent| {
        let Some(change) = event.clipboard_data().and_then(|data| change_of(&data)) else {
            return;
        };
        let in_field = document()
            .ok()
            .and_then(|document| document.active_element())
            .is_some_and(|element| element.tag_name() == "TEXTAREA");
        if matches!(change, Change::File(_)) || !in_field {
            event.prevent_default();
            changed(change);
        }
    })
}

/// What a drop or a paste carries: a file before words, words before a bare address.
fn change_of(data: &DataTransfer) -> Option<Change> {
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
