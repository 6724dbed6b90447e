//! Owns what is dropped or pasted on the page: who takes it, by what it is and by the view that is shown.

use wasm_bindgen::JsValue;
use web_sys::{ClipboardEvent, DataTransfer, DragEvent, Element};

use super::bench::picture::{Change, change_of};
use super::dom::{document, listen, report};
use super::files::Dropped;
use super::views;

/// What was dropped or pasted, for the one who takes it.
pub(super) enum Drop {
    /// A picture, words or an address, for the one post.
    Post(Change),
    /// Files or folders, for many posts.
    Many(Dropped),
}

/// Who takes what is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    Post,
    Many,
}

/// Kinds of what is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Words or an address.
    Words,
    /// One file that is no table.
    File,
    /// Several files, a folder, or a table.
    Files,
}

/// What makes many posts goes to their view from anywhere; everything else to the view that is shown, if it can take it.
fn taker(kind: Kind, view: &str) -> Option<Taker> {
    match (kind, view) {
        (Kind::Files, _) | (Kind::File, "many") => Some(Taker::Many),
        (_, "post") => Some(Taker::Post),
        _ => None,
    }
}

/// Calls `take` with what is dropped or pasted. The whole page takes drops, so that no aim is needed and a miss does not
/// navigate away.
///
/// # Errors
/// If the browser refuses.
pub(super) fn follow(take: impl Fn(Drop) + Clone + 'static) -> Result<(), JsValue> {
    let document = document()?;
    listen(&document, "dragover", |event: DragEvent| {
        event.prevent_default();
        report(mark(true));
    })?;
    listen(&document, "dragleave", |event: DragEvent| {
        if event.related_target().is_none() {
            report(mark(false));
        }
    })?;
    let dropped = take.clone();
    listen(&document, "drop", move |event: DragEvent| {
        event.prevent_default();
        report(mark(false));
        if let Some(drop) = event.data_transfer().and_then(|data| dropped_of(&data)) {
            dropped(drop);
        }
    })?;
    listen(&document, "paste", move |event: ClipboardEvent| {
        let pasted = event.clipboard_data().and_then(|data| dropped_of(&data));
        // Words pasted into the text field stay the field's own business.
        let words = matches!(pasted, Some(Drop::Post(Change::Words(_) | Change::Address)));
        if let Some(pasted) = pasted.filter(|_| !(words && in_field())) {
            event.prevent_default();
            take(pasted);
        }
    })
}

fn dropped_of(data: &DataTransfer) -> Option<Drop> {
    let files = Dropped::of(data);
    let kind = match (files.is_empty(), files.is_many()) {
        (true, _) => Kind::Words,
        (false, false) => Kind::File,
        (false, true) => Kind::Files,
    };
    match taker(kind, views::shown())? {
        Taker::Post => change_of(data).map(Drop::Post),
        Taker::Many => {
            report(views::go("many"));
            Some(Drop::Many(files))
        }
    }
}

fn in_field() -> bool {
    document()
        .ok()
        .and_then(|document| document.active_element())
        .is_some_and(|element| element.tag_name() == "TEXTAREA")
}

/// Marks the places that show where a drop goes; only those of the view that is shown are seen.
fn mark(over: bool) -> Result<(), JsValue> {
    let places = document()?.query_selector_all(".takes-drops")?;
    for place in 0..places.length() {
        if let Some(place) = places.item(place) {
            let place: Element = wasm_bindgen::JsCast::unchecked_into(place);
            place.class_list().toggle_with_force("is-target", over)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_the_view_that_can_take_them() {
        assert_eq!(taker(Kind::File, "post"), Some(Taker::Post));
        assert_eq!(taker(Kind::Words, "post"), Some(Taker::Post));
        assert_eq!(taker(Kind::Files, "post"), Some(Taker::Many));
        assert_eq!(taker(Kind::File, "many"), Some(Taker::Many));
        assert_eq!(taker(Kind::Words, "many"), None);
        assert_eq!(taker(Kind::Files, "model"), Some(Taker::Many));
        assert_eq!(taker(Kind::File, "model"), None);
    }
}
