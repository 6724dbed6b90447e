//! Owns the worker as the page sees it: starting it under the page's own policy, asking, listening, starting again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::{
    Blob, BlobPropertyBag, MessageEvent, Url, Worker, WorkerOptions, WorkerType, console,
};

use super::artefact;
use super::bundles::Choice;
use super::dom::{document, listen, report};
use crate::protocol::{Artefact, Code, Event, Failure, Request, from_js};

/// What comes from the worker.
pub type Listener = Rc<dyn Fn(Event)>;

/// The worker, of the fastest artefact that starts.
pub struct Client(Rc<Running>);

struct Running {
    listener: Listener,
    worker: RefCell<Option<Worker>>,
    artefact: Cell<Artefact>,
    /// Whether the model is loaded: what fails later does not fail because of the artefact.
    ready: Cell<bool>,
    /// A faster artefact was tried in vain.
    fell_back: Cell<bool>,
}

impl Client {
    /// Starts a worker that tells `listener` everything.
    ///
    /// # Errors
    /// If the browser has no module workers.
    pub fn start(listener: Listener) -> Result<Self, JsValue> {
        let running = Rc::new(Running {
            listener,
            worker: RefCell::default(),
            artefact: Cell::new(artefact::best()),
            ready: Cell::new(false),
            fell_back: Cell::new(false),
        });
        running.begin()?;
        Ok(Self(running))
    }

    /// Asks the worker, with the image file's bytes beside the request.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn ask(&self, request: &Request, image: Option<&Uint8Array>) -> Result<(), JsValue> {
        let message = request.to_message(image)?;
        let worker = self.0.worker.borrow();
        worker
            .as_ref()
            .map_or(Ok(()), |worker| worker.post_message(&message))
    }

    /// Has the worker load a bundle, and keep it if it comes from beside the page.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn load(&self, choice: &Choice) -> Result<(), JsValue> {
        let (url, files) = match choice {
            Choice::Offered(offer) => (offer.address()?, None),
            Choice::Own(local) => (String::new(), Some(&local.files)),
        };
        let request = Request::Load {
            keep: files.is_none(),
            url,
            threads: None,
            only: None,
        };
        let message = request.to_message(None)?;
        if let Some(files) = files {
            Reflect::set(&message, &"files".into(), files)?;
        }
        let worker = self.0.worker.borrow();
        worker
            .as_ref()
            .map_or(Ok(()), |worker| worker.post_message(&message))
    }

    /// True if the browser should have run a faster artefact, but could not.
    pub fn fell_back(&self) -> bool {
        self.0.fell_back.get()
    }
}

impl Drop for Client {
    /// Ending the worker is the only way to give WebAssembly's memory back.
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Running {
    /// Starts the chosen artefact.
    ///
    /// The worker's first script is a blob made here: a blob's worker is held to the page's Content-Security-Policy,
    /// while one fetched from the server is only held to what headers the server sends.
    fn begin(self: &Rc<Self>) -> Result<(), JsValue> {
        let artefact = self.artefact.get();
        let base = document()?.base_uri()?.unwrap_or_default();
        let script = Url::new_with_base(&format!("workers/{}.js", artefact.name()), &base)?.href();
        let starter = format!(
            "import init from {script:?};\n\
             init().catch(error => setTimeout(() => {{ throw error; }}));"
        );
        let kind = BlobPropertyBag::new();
        kind.set_type("text/javascript");
        let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&starter.into()), &kind)?;
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let address = Url::create_object_url_with_blob(&blob)?;
        let worker = Worker::new_with_options(&address, &options)?;

        // What a worker says that was ended counts no more.
        let current = move |running: &Self| running.artefact.get() == artefact;
        let running = Rc::clone(self);
        listen(
            &worker,
            "message",
            move |message: MessageEvent| match from_js::<Event>(message.data()) {
                Ok(event) if current(&running) => running.hear(event),
                Ok(_) => {}
                Err(error) => report(Err(error)),
            },
        )?;
        let running = Rc::clone(self);
        listen(&worker, "error", move |error: JsValue| {
            if current(&running) {
                // Where a script could not be fetched, the event has no message at all.
                let message = Reflect::get(&error, &"message".into()).unwrap_or_default();
                let failure = crash(&message.as_string().unwrap_or_default());
                if running.ready.get() || !running.fall_back(&failure) {
                    (running.listener)(Event::Failed { id: None, failure });
                }
            }
        })?;
        *self.worker.borrow_mut() = Some(worker);
        Ok(())
    }

    fn hear(self: &Rc<Self>, event: Event) {
        match &event {
            Event::Failed { id: None, failure }
                if failure.code == Code::Threads && self.fall_back(failure) =>
            {
                return;
            }
            Event::Ready { .. } => self.ready.set(true),
            _ => {}
        }
        (self.listener)(event);
    }

    /// Starts the next artefact in place of this one; false if there is none.
    fn fall_back(self: &Rc<Self>, failure: &Failure) -> bool {
        let Some(next) = artefact::instead_of(self.artefact.get()) else {
            return false;
        };
        console::warn_1(&failure.message.as_str().into());
        self.end();
        self.artefact.set(next);
        self.fell_back.set(true);
        report(self.begin());
        true
    }

    fn end(&self) {
        if let Some(worker) = self.worker.borrow_mut().take() {
            worker.terminate();
        }
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
