//! Owns the worker as the page sees it: starting it under the page's own policy, asking, listening, starting again.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::{
    Blob, BlobPropertyBag, ErrorEvent, MessageEvent, Url, Worker, WorkerOptions, WorkerType,
};

use super::dom::{document, listen, report};
use crate::protocol::{Code, Event, Failure, Request, from_js};

/// What comes from the worker.
pub type Listener = Rc<dyn Fn(Event)>;

/// The worker.
pub struct Client {
    worker: Worker,
}

impl Client {
    /// Starts a worker that tells `listener` everything.
    ///
    /// The worker's first script is a blob made here: a blob's worker is held to the page's Content-Security-Policy,
    /// while one fetched from the server is only held to what headers the server sends.
    ///
    /// # Errors
    /// If the browser has no module workers.
    pub fn start(listener: Listener) -> Result<Self, JsValue> {
        let base = document()?.base_uri()?.unwrap_or_default();
        let script = Url::new_with_base("worker.js", &base)?.href();
        let program = Url::new_with_base("worker_bg.wasm", &base)?.href();
        let starter = format!(
            "import init from {script:?};\n\
             init({{ module_or_path: {program:?} }}).catch(error => setTimeout(() => {{ throw error; }}));"
        );
        let kind = BlobPropertyBag::new();
        kind.set_type("text/javascript");
        let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&starter.into()), &kind)?;
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let address = Url::create_object_url_with_blob(&blob)?;
        let worker = Worker::new_with_options(&address, &options)?;

        let tell = Rc::clone(&listener);
        listen(
            &worker,
            "message",
            move |message: MessageEvent| match from_js::<Event>(message.data()) {
                Ok(event) => tell(event),
                Err(error) => report(Err(error)),
            },
        )?;
        listen(&worker, "error", move |error: ErrorEvent| {
            listener(Event::Failed {
                id: None,
                failure: crash(&error.message()),
            });
        })?;
        Ok(Self { worker })
    }

    /// Asks the worker, with the image file's bytes beside the request.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn ask(&self, request: &Request, image: Option<&Uint8Array>) -> Result<(), JsValue> {
        self.worker.post_message(&request.to_message(image)?)
    }
}

impl Drop for Client {
    /// Ending the worker is the only way to give WebAssembly's memory back.
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

/// A worker that ended by itself, as a sentence.
fn crash(message: &str) -> Failure {
    if message.contains("CompileError") || message.contains("LinkError") {
        return Failure::new(
            Code::Unsupported,
            "This browser cannot run the model: it lacks WebAssembly SIMD.",
            "Use a browser of 2023 or later: Chrome, Edge or Firefox, or Safari 16.4.",
        );
    }
    if message.contains("unreachable") || message.contains("memory") {
        return Failure::new(
            Code::Memory,
            "The model's thread ended; most often the device has run out of memory.",
            "Close other tabs, use a smaller picture, and start the model again.",
        );
    }
    let detail = if message.is_empty() {
        "its files could not be loaded".into()
    } else {
        message.to_owned()
    };
    Failure::new(
        Code::Internal,
        format!("The model's thread could not run: {detail}."),
        "Check the connection and start the model again.",
    )
}
