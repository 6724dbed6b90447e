//! Owns what the page asks of its service worker (`web/offline.js`): to keep the page, and to forget it.

use js_sys::{Array, Function, Object, Promise, Reflect};
use serde::Deserialize;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageChannel, MessageEvent, ServiceWorkerContainer, ServiceWorkerRegistration};

use super::dom::window;
use super::words;
use crate::promise::{settled, within};
use crate::protocol::{Artefact, from_js};

/// A service worker that does not run by then will not in this visit.
const START_MS: i32 = 10_000;
/// Nor will one answer that has not by then: a page is a few megabytes.
const ANSWER_MS: i32 = 120_000;

/// The page as it is kept on this device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct KeptPage {
    /// Size of its files.
    pub bytes: u64,
    /// Whether the next visit gets a newer version than this one.
    pub newer: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Kept(KeptPage),
    Failed { failure: String },
}

/// Has the page kept, with the one of the worker's artefacts that this browser starts.
///
/// # Errors
/// Why it cannot be kept, as a part of a sentence.
pub async fn keep(artefact: Artefact) -> Result<KeptPage, String> {
    ask("artefact", &artefact.name().into()).await
}

/// Has the page forgotten, and ends the service worker's registration. Where there is none there is nothing to forget.
///
/// # Errors
/// If the browser refuses to end it.
pub async fn forget() -> Result<(), JsValue> {
    let Some(workers) = container() else {
        return Ok(());
    };
    let found = settled(workers.get_registration()).await?;
    let Ok(registration) = found.dyn_into::<ServiceWorkerRegistration>() else {
        return Ok(());
    };
    // It may be at work on keeping the page.
    if let Ok(answer) = send(&registration, "forget", &JsValue::TRUE) {
        within(ANSWER_MS, answer).await;
    }
    settled(registration.unregister()?).await.map(|_| ())
}

async fn ask(name: &str, value: &JsValue) -> Result<KeptPage, String> {
    let none = || words::say("service-worker-none", &[]);
    let workers = container().ok_or_else(none)?;
    let ready = workers.ready().map_err(|_| none())?;
    let registration = within(START_MS, ready.unchecked_into()).await;
    let registration: ServiceWorkerRegistration = registration
        .ok_or_else(|| words::say("service-worker-late", &[]))?
        .unchecked_into();
    let answer = send(&registration, name, value).map_err(|_| none())?;
    let answer = within(ANSWER_MS, answer).await;
    let answer = answer.ok_or_else(|| words::say("service-worker-silent", &[]))?;
    match from_js(answer) {
        Ok(Answer::Kept(page)) => Ok(page),
        Ok(Answer::Failed { failure }) => Err(failure),
        Err(_) => Err(words::say("service-worker-other", &[])),
    }
}

/// Sends a message with a way back, and returns what will come on it.
fn send(
    registration: &ServiceWorkerRegistration,
    name: &str,
    value: &JsValue,
) -> Result<Promise, JsValue> {
    let message = Object::new();
    Reflect::set(&message, &name.into(), value)?;
    let channel = MessageChannel::new()?;
    let port = channel.port1();
    let answer = Promise::new(&mut |told, _| {
        let told: Function = told.unchecked_into();
        let heard = wasm_bindgen::prelude::Closure::once_into_js(move |event: MessageEvent| {
            let _ = told.call1(&JsValue::NULL, &event.data());
        });
        port.set_onmessage(Some(heard.unchecked_ref()));
    });
    let worker = registration.active().ok_or("it is not active")?;
    worker.post_message_with_transferable(&message, &Array::of1(&channel.port2()))?;
    Ok(answer)
}

/// Only secure contexts have service workers, and only where they are not forbidden.
fn container() -> Option<ServiceWorkerContainer> {
    let navigator = window().ok()?.navigator();
    let workers = Reflect::get(&navigator, &"serviceWorker".into()).ok()?;
    workers.is_object().then(|| workers.unchecked_into())
}
