//! Owns the worker as the page sees it: starting it under the page's own policy, asking, answers, starting again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, Url, Worker, console};

use super::bundles::Choice;
use super::dom::{document, listen, report};
use super::{artefact, words};
use crate::protocol::{Artefact, Code, Event, Failure, Request, from_js, to_js};
use crate::thread::Script;

/// What comes from the worker unasked: how loading goes, and its end.
pub type Listener = Rc<dyn Fn(Event)>;

/// What developer tools call the worker.
const NAME: &str = "lacuna";
/// So many workers may end one after the other without an answer before no further one is started: one to ask the same
/// again, and one to leave out what two have ended over.
const PATIENCE: u32 = 2;

/// The worker, of the fastest artefact that starts. One that ends by itself is started again, and asked again what it
/// did not answer.
pub struct Client(Rc<Running>);

struct Running {
    listener: Listener,
    worker: RefCell<Option<(Worker, Script)>>,
    /// How many workers were started: what an earlier one says counts no more.
    started: Cell<u32>,
    artefact: Cell<Artefact>,
    /// Whether the model is loaded: what fails later does not fail because of the artefact.
    ready: Cell<bool>,
    /// A faster artefact was tried in vain.
    fell_back: Cell<bool>,
    /// How many workers have ended since there was an answer.
    ended: Cell<u32>,
    /// What was taught last, for a worker that is started again.
    taught: RefCell<Option<String>>,
    /// Who waits for an answer, by the request's number.
    waiting: RefCell<BTreeMap<u32, Waiting>>,
    /// The number of the last request.
    asked: Cell<u32>,
}

/// A request that is not answered yet.
struct Waiting {
    asker: Function,
    message: JsValue,
    /// Whether a worker ended over it.
    again: bool,
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
            started: Cell::new(0),
            artefact: Cell::new(artefact::best()),
            ready: Cell::new(false),
            fell_back: Cell::new(false),
            ended: Cell::new(0),
            taught: RefCell::default(),
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
        self.0.post(&request.to_message(None)?)
    }

    /// Has the worker load a bundle, and with `keep`, keep it if it comes from beside the page.
    ///
    /// # Errors
    /// If the message cannot be sent.
    pub fn load(&self, choice: &Choice, keep: bool) -> Result<(), JsValue> {
        let (url, files) = match choice {
            Choice::Offered(offer) => (offer.address()?, None),
            Choice::Own(local) => (String::new(), Some(&local.files)),
        };
        let request = Request::Load {
            keep: keep && files.is_none(),
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
        let id = self.0.number();
        let message = request(id).to_message(image)?;
        // While the model loads it waits here, for the worker could only say that there is none yet.
        if self.0.ready.get() {
            self.0.post(&message)?;
        }
        let answer = Promise::new(&mut |asker, _| {
            let waiting = Waiting {
                asker,
                message: message.clone(),
                again: false,
            };
            self.0.waiting.borrow_mut().insert(id, waiting);
        });
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
    /// The next request's number.
    fn number(&self) -> u32 {
        self.asked.set(self.asked.get() + 1);
        self.asked.get()
    }

    fn post(&self, message: &JsValue) -> Result<(), JsValue> {
        let worker = self.worker.borrow();
        worker
            .as_ref()
            .map_or(Ok(()), |(worker, _)| worker.post_message(message))
    }

    /// Hands a failure to whoever waits for this answer.
    fn answer(&self, id: u32, failure: &Failure) {
        let asker = self.waiting.borrow_mut().remove(&id);
        let (id, failure) = (Some(id), failure.clone());
        if let (Some(waiting), Ok(event)) = (asker, to_js(&Event::Failed { id, failure })) {
            let _ = waiting.asker.call1(&JsValue::NULL, &event);
        }
    }

    /// Hands a failure to all who wait.
    fn give_up(&self, failure: &Failure) {
        let waiting: Vec<u32> = self.waiting.borrow().keys().copied().collect();
        waiting.into_iter().for_each(|id| self.answer(id, failure));
    }

    /// Starts the chosen artefact.
    fn begin(self: &Rc<Self>) -> Result<(), JsValue> {
        let base = document()?.base_uri()?.unwrap_or_default();
        let artefact = format!("workers/{}.js", self.artefact.get().name());
        let artefact = Url::new_with_base(&artefact, &base)?.href();
        let script = Script::new(&format!(
            "import init from {artefact:?};\n\
             init().catch(error => setTimeout(() => {{ throw error; }}));"
        ))?;
        let worker = script.start(NAME)?;
        let turn = self.started.get() + 1;
        self.started.set(turn);

        let current = move |running: &Self| running.started.get() == turn;
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
                running.ended(&crash(&message.as_string().unwrap_or_default()));
            }
        })?;
        *self.worker.borrow_mut() = Some((worker, script));
        Ok(())
    }

    /// The worker has ended by itself.
    fn ended(self: &Rc<Self>, failure: &Failure) {
        let again = if self.ready.get() {
            self.start_again(failure)
        } else {
            self.fall_back(failure)
        };
        if !again {
            self.give_up(failure);
            let failure = failure.clone();
            (self.listener)(Event::Failed { id: None, failure });
        }
    }

    fn hear(self: &Rc<Self>, message: &JsValue) -> Result<(), JsValue> {
        let id = Reflect::get(message, &"id".into())?.as_f64();
        if let Some(id) = id {
            // One that was given up has no asker any more.
            let Some(waiting) = self.waiting.borrow_mut().remove(&(id as u32)) else {
                return Ok(());
            };
            self.ended.set(0);
            if let Some(lessons) = Reflect::get(message, &"lessons".into())?.dyn_ref::<Object>() {
                let file = Reflect::get(lessons, &"file".into())?;
                *self.taught.borrow_mut() = file.as_string();
            }
            return waiting.asker.call1(&JsValue::NULL, message).map(|_| ());
        }
        let event = from_js(message.clone())?;
        match &event {
            Event::Failed { failure, .. }
                if failure.code == Code::Threads && self.fall_back(failure) =>
            {
                return Ok(());
            }
            Event::Ready { .. } => {
                self.ready.set(true);
                self.ask_again()?;
            }
            _ => {}
        }
        (self.listener)(event);
        Ok(())
    }

    /// Starts a worker in place of one that has ended; false if too many have. The oldest request is what it ended over:
    /// if another one did before, whoever asked hears so.
    fn start_again(self: &Rc<Self>, failure: &Failure) -> bool {
        if self.ended.get() == PATIENCE {
            return false;
        }
        self.ended.set(self.ended.get() + 1);
        console::warn_1(&failure.message.as_str().into());
        let hopeless = match self.waiting.borrow_mut().first_entry() {
            Some(mut oldest) => {
                let again = std::mem::replace(&mut oldest.get_mut().again, true);
                again.then_some(*oldest.key())
            }
            None => None,
        };
        if let Some(id) = hopeless {
            self.answer(id, failure);
        }
        self.end();
        self.ready.set(false);
        report(self.begin());
        true
    }

    /// Brings a worker to where the one before it was.
    fn ask_again(&self) -> Result<(), JsValue> {
        if let Some(file) = self.taught.borrow().clone() {
            let id = self.number();
            let file = Some(file);
            self.post(&Request::Learn { id, file }.to_message(None)?)?;
        }
        let waiting = self.waiting.borrow();
        waiting
            .values()
            .try_for_each(|waiting| self.post(&waiting.message))
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
        if let Some((worker, _)) = self.worker.borrow_mut().take() {
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
