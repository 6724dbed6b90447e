//! Owns the worker as the page sees it: starting it under the page's own policy, asking, answers, starting again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, MessageEvent, Url, Worker, WorkerOptions, WorkerType, console,
};

use super::bundles::Choice;
use super::dom::{document, listen, report};
use super::{artefact, words};
use crate::protocol::{Artefact, Code, Event, Failure, Request, from_js, to_js};

/// What comes from the worker unasked: how loading goes, and its end.
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
    /// Who waits for an answer, by the request's number.
    waiting: RefCell<BTreeMap<u32, Function>>,
    /// The number of the last request.
    asked: Cell<u32>,
}

/// A request that was sent.
pub struct Asked {
    /// Its number.
    pub id: u32,
    answer: JsFuture,
}

impl Asked {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The failure that the worker answers with, or with which it ended.
    pub async fn answer(self) -> Result<Event, Failure> {
        let event = self.answer.await.and_then(from_js::<Event>);
        match event.map_err(|error| internal(&error))? {
            Event::Failed { failure, .. } => Err(failure),
            event => Ok(event),
        }
    }
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
            waiting: RefCell::default(),
            asked: Cell::new(0),
        });
        running.begin()?;
        Ok(Self(running))
    }

    /// Tells the worker something that it does not answer.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn tell(&self, request: &Request) -> Result<(), JsValue> {
        self.0.send(request, None)
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
        self.0.post(&message)
    }

    /// Asks the worker what `request` makes of the number it is given, with the image file's bytes beside it.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn ask(
        &self,
        request: impl FnOnce(u32) -> Request,
        image: Option<&Uint8Array>,
    ) -> Result<Asked, JsValue> {
        let id = self.0.asked.get() + 1;
        self.0.asked.set(id);
        let answer = Promise::new(&mut |resolve, _| {
            self.0.waiting.borrow_mut().insert(id, resolve);
        });
        self.0.send(&request(id), image)?;
        Ok(Asked {
            id,
            answer: answer.into(),
        })
    }

    /// Gives up what was asked: whoever waits hears that it was.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn cancel(&self, id: u32) -> Result<(), JsValue> {
        self.0.answer(id, &cancelled());
        self.tell(&Request::Cancel { id })
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
        self.0.give_up(&cancelled());
    }
}

impl Running {
    fn send(&self, request: &Request, image: Option<&Uint8Array>) -> Result<(), JsValue> {
        self.post(&request.to_message(image)?)
    }

    fn post(&self, message: &JsValue) -> Result<(), JsValue> {
        let worker = self.worker.borrow();
        worker
            .as_ref()
            .map_or(Ok(()), |worker| worker.post_message(message))
    }

    /// Hands a failure to whoever waits for this answer.
    fn answer(&self, id: u32, failure: &Failure) {
        let asker = self.waiting.borrow_mut().remove(&id);
        let (id, failure) = (Some(id), failure.clone());
        if let (Some(asker), Ok(event)) = (asker, to_js(&Event::Failed { id, failure })) {
            let _ = asker.call1(&JsValue::NULL, &event);
        }
    }

    /// Hands a failure to all who wait.
    fn give_up(&self, failure: &Failure) {
        let waiting: Vec<u32> = self.waiting.borrow().keys().copied().collect();
        waiting.into_iter().for_each(|id| self.answer(id, failure));
    }

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
        listen(&worker, "message", move |message: MessageEvent| {
            if current(&running) {
                report(running.hear(&message.data()));
            }
        })?;
        let running = Rc::clone(self);
        listen(&worker, "error", move |error: JsValue| {
            if current(&running) {
                // Where a script could not be fetched, the event has no message at all.
                let message = Reflect::get(&error, &"message".into()).unwrap_or_default();
                let failure = crash(&message.as_string().unwrap_or_default());
                if running.ready.get() || !running.fall_back(&failure) {
                    running.give_up(&failure);
                    (running.listener)(Event::Failed { id: None, failure });
                }
            }
        })?;
        *self.worker.borrow_mut() = Some(worker);
        Ok(())
    }

    fn hear(self: &Rc<Self>, message: &JsValue) -> Result<(), JsValue> {
        let id = Reflect::get(message, &"id".into())?.as_f64();
        if let Some(id) = id {
            // One that was given up has no asker any more.
            let asker = self.waiting.borrow_mut().remove(&(id as u32));
            return asker.map_or(Ok(()), |asker| {
                asker.call1(&JsValue::NULL, message).map(|_| ())
            });
        }
        let event = from_js(message.clone())?;
        match &event {
            Event::Failed { failure, .. }
                if failure.code == Code::Threads && self.fall_back(failure) =>
            {
                return Ok(());
            }
            Event::Ready { .. } => self.ready.set(true),
            _ => {}
        }
        (self.listener)(event);
        Ok(())
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

/// Whether a failure only says that the answer was given up.
pub fn is_cancelled(failure: &Failure) -> bool {
    failure.code == Code::Cancelled
}

fn cancelled() -> Failure {
    Failure::new(Code::Cancelled, words::say("cancelled", &[]), "")
}

fn internal(error: &JsValue) -> Failure {
    let detail = format!("{error:?}");
    Failure::new(
        Code::Internal,
        words::say("crash-unknown", &[&detail]),
        words::say("crash-unknown-hint", &[]),
    )
}

/// A worker that ended by itself, as a sentence.
fn crash(message: &str) -> Failure {
    let (code, key) = if message.contains("CompileError") || message.contains("LinkError") {
        (Code::Unsupported, "crash-unsupported")
    } else if message.contains("unreachable") || message.contains("memory") {
        (Code::Memory, "crash-memory")
    } else if message.is_empty() {
        (Code::Internal, "crash-files")
    } else {
        (Code::Internal, "crash-unknown")
    };
    let hint = words::say(&format!("{key}-hint"), &[]);
    Failure::new(code, words::say(key, &[message]), hint)
}
