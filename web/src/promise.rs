//! Owns waiting: for what a browser promises, and for a while. It works on the page's thread and in a worker.

use js_sys::{Array, Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// Both kinds of global scope have it; web-sys knows it only as a method of either.
    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(action: &Function, milliseconds: i32) -> Result<JsValue, JsValue>;
}

/// What a promise brings, of whatever type web-sys says it is of.
///
/// # Errors
/// What the browser refuses with.
pub async fn settled(promise: impl JsCast) -> Result<JsValue, JsValue> {
    JsFuture::from(promise.unchecked_into::<Promise>()).await
}

/// Waits, and lets the browser do what it has to do; 0 milliseconds is as short as it can be.
pub async fn pause(milliseconds: i32) {
    // A timer does not fail.
    let _ = settled(timer(milliseconds)).await;
}

/// What a promise brings, unless it fails or takes longer.
pub async fn within(milliseconds: i32, promise: Promise) -> Option<JsValue> {
    let first = Promise::race(&Array::of2(&promise, &timer(milliseconds)).into());
    let first = settled(first).await.ok()?;
    (!first.is_undefined()).then_some(first)
}

/// Brings nothing after a while; at once where there is no timer.
fn timer(milliseconds: i32) -> Promise {
    Promise::new(&mut |done, _| {
        let done: &Function = done.unchecked_ref();
        if set_timeout(done, milliseconds).is_err() {
            let _ = done.call0(&JsValue::NULL);
        }
    })
}
