//! Owns the few helpers that make web-sys pleasant: finding, making and listening. Text is only ever set as text.

use js_sys::Array;
use wasm_bindgen::convert::FromWasmAbi;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Blob, BlobPropertyBag, Document, Element, EventTarget, HtmlAnchorElement, HtmlElement, Url,
    Window, console,
};

use crate::promise::pause;

/// The window; the page's program runs nowhere else.
///
/// # Errors
/// If there is none.
pub fn window() -> Result<Window, JsValue> {
    web_sys::window().ok_or_else(|| JsValue::from_str("there is no window"))
}

/// The document.
///
/// # Errors
/// If there is none.
pub fn document() -> Result<Document, JsValue> {
    window()?
        .document()
        .ok_or_else(|| JsValue::from_str("there is no document"))
}

/// The element with this id, as its type.
///
/// # Errors
/// If index.html has no such element.
pub fn by_id<T: JsCast>(id: &str) -> Result<T, JsValue> {
    document()?
        .get_element_by_id(id)
        .and_then(|element| element.dyn_into::<T>().ok())
        .ok_or_else(|| JsValue::from_str(&format!("index.html has no fitting element #{id}")))
}

/// Makes an element with a class and appends it.
///
/// # Errors
/// If the browser refuses.
pub fn append(
    parent: &impl AsRef<Element>,
    tag: &str,
    class: &str,
) -> Result<HtmlElement, JsValue> {
    let element = document()?.create_element(tag)?;
    if !class.is_empty() {
        element.set_class_name(class);
    }
    parent.as_ref().append_child(&element)?;
    Ok(element.unchecked_into())
}

/// Shows or hides an element, also from screen readers.
pub fn show(element: &HtmlElement, visible: bool) {
    element.set_hidden(!visible);
}

/// Calls `action` for every event of this name, for as long as the page lives.
///
/// # Errors
/// If the browser refuses.
pub fn listen<E: FromWasmAbi + 'static>(
    target: &impl AsRef<EventTarget>,
    name: &str,
    action: impl FnMut(E) + 'static,
) -> Result<(), JsValue> {
    let closure = Closure::<dyn FnMut(E)>::new(action);
    target
        .as_ref()
        .add_event_listener_with_callback(name, closure.as_ref().unchecked_ref())?;
    closure.forget();
    Ok(())
}

/// The browser is given this long to begin saving a file, in milliseconds.
const SAVED: i32 = 60_000;

/// Lets the visitor save the parts of a text as a file of this name and kind. It comes from the page itself and is no
/// request.
///
/// # Errors
/// If the browser refuses.
pub async fn save(name: &str, kind: &str, parts: &Array) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let blob = Blob::new_with_str_sequence_and_options(parts, &options)?;
    let address = Url::create_object_url_with_blob(&blob)?;
    let link: HtmlAnchorElement = document()?.create_element("a")?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    pause(SAVED).await;
    Url::revoke_object_url(&address)
}

/// Writes an unexpected failure to the console, where a developer looks.
pub fn report(result: Result<(), JsValue>) {
    if let Err(error) = result {
        console::error_1(&error);
    }
}

/// Sets a custom property, which the style sheets turn into a length. Inline styles would be against the page's policy;
/// this way is not.
///
/// # Errors
/// If the browser refuses.
pub fn set_variable(element: &HtmlElement, name: &str, value: f64) -> Result<(), JsValue> {
    // Four places are finer than a pixel; a whole number stays one, which `repeat()` needs.
    let value = (value * 1e4).round() / 1e4;
    element.style().set_property(name, &value.to_string())
}

/// Milliseconds since the page was opened; 0 where the browser has no clock.
pub fn now() -> f64 {
    let clock = window().ok().and_then(|window| window.performance());
    clock.map_or(0.0, |clock| clock.now())
}
