//! Owns the model as the page's widgets meet it: whether it is there, and the answers to what they ask of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::bundles::Choice;
use super::client::{Asked, Client};
use super::network::Network;
use super::notice::Notice;
use super::offer::Offer;
use super::progress::Progress;
use super::words;
use crate::protocol::{Code, Event, Explanation, Failure, Lessons, Prediction, Request, Summary};

/// What widgets hear of the model.
#[derive(Clone)]
pub enum State {
    /// It is loading.
    Loading,
    /// It answers.
    Ready(Rc<Summary>),
    /// It could not be loaded, or ended; a notice says why.
    Failed,
}

/// Who hears when the state changes.
type Listener = Rc<dyn Fn(&State)>;

/// A prediction, and how long it took.
pub struct Answer {
    /// The prediction.
    pub prediction: Prediction,
    /// The time in milliseconds.
    pub milliseconds: f64,
}

/// The model.
pub struct Model {
    client: RefCell<Option<Client>>,
    choice: RefCell<Choice>,
    state: RefCell<State>,
    listeners: RefCell<Vec<Listener>>,
    /// Whether what is loaded may be kept on this device.
    keeps: Cell<bool>,
    progress: Progress,
    notice: Rc<Notice>,
    network: Network,
}

impl Model {
    /// Finds what the page shows of the model; [`Model::load`] starts it.
    ///
    /// # Errors
    /// If index.html lacks an element.
    pub fn find(notice: Rc<Notice>) -> Result<Rc<Self>, JsValue> {
        Ok(Rc::new(Self {
            client: RefCell::default(),
            choice: RefCell::new(Choice::Offered(Offer::unlisted())),
            state: RefCell::new(State::Loading),
            listeners: RefCell::default(),
            keeps: Cell::new(true),
            progress: Progress::find()?,
            notice,
            network: Network::observe()?,
        }))
    }

    /// Calls `listener` whenever the state changes.
    pub fn listen(&self, listener: impl Fn(&State) + 'static) {
        self.listeners.borrow_mut().push(Rc::new(listener));
    }

    /// What was loaded, once it answers.
    pub fn ready(&self) -> Option<Rc<Summary>> {
        match &*self.state.borrow() {
            State::Ready(summary) => Some(Rc::clone(summary)),
            State::Loading | State::Failed => None,
        }
    }

    /// The count of requests.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The bundle that is loaded, or is to be.
    pub fn choice(&self) -> Choice {
        self.choice.borrow().clone()
    }

    /// Takes a bundle for the one that is to be loaded.
    pub fn choose(&self, choice: Choice) {
        *self.choice.borrow_mut() = choice;
    }

    /// Keeps nothing any more of what is loaded from now on.
    pub fn keep_nothing(&self) {
        self.keeps.set(false);
    }

    /// Whether what is loaded may be kept.
    pub fn keeps(&self) -> bool {
        self.keeps.get()
    }

    /// Whether a worker was started.
    pub fn is_started(&self) -> bool {
        self.client.borrow().is_some()
    }

    /// Shows no progress: what is to be loaded waits for the visitor.
    pub fn wait(&self) {
        self.progress.failed();
    }

    /// Starts a worker and loads the chosen bundle, in place of what was there.
    ///
    /// # Errors
    /// If the browser cannot run a worker.
    pub fn load(self: &Rc<Self>) -> Result<(), JsValue> {
        self.client.borrow_mut().take();
        self.set(State::Loading);
        self.network.loading();
        self.progress.show(0, 0);
        let model = Rc::clone(self);
        let client = Client::start(Rc::new(move |event| {
            super::dom::report(model.hear(event));
        }))?;
        *self.client.borrow_mut() = Some(client);
        Ok(())
    }

    /// Classifies a post of an image file's bytes, a text, or both.
    ///
    /// # Errors
    /// The worker's failure.
    pub async fn classify(
        &self,
        image: Option<&Uint8Array>,
        text: Option<&str>,
    ) -> Result<Answer, Failure> {
        let text = text.map(str::to_owned);
        let asked = self.ask(|id| Request::Classify { id, text }, image)?;
        match asked.answer().await? {
            Event::Prediction {
                prediction,
                milliseconds,
                requests,
                ..
            } => {
                self.network.worker_made(requests);
                Ok(Answer {
                    prediction,
                    milliseconds,
                })
            }
            _ => Err(unexpected()),
        }
    }

    /// Asks what a class's score rests on; `started` is told the request's number, by which it can be given up.
    ///
    /// # Errors
    /// The worker's failure.
    pub async fn explain(
        &self,
        image: Option<&Uint8Array>,
        text: Option<&str>,
        class: usize,
        started: impl FnOnce(u32),
    ) -> Result<Explanation, Failure> {
        let text = text.map(str::to_owned);
        let asked = self.ask(|id| Request::Explain { id, text, class }, image)?;
        started(asked.id);
        match asked.answer().await? {
            Event::Explanation {
                explanation,
                requests,
                ..
            } => {
                self.network.worker_made(requests);
                Ok(explanation)
            }
            _ => Err(unexpected()),
        }
    }

    /// Asks for a change of what was taught, with the image file's bytes beside it.
    ///
    /// # Errors
    /// The worker's failure.
    pub async fn lessons(
        &self,
        request: impl FnOnce(u32) -> Request,
        image: Option<&Uint8Array>,
    ) -> Result<Lessons, Failure> {
        match self.ask(request, image)?.answer().await? {
            Event::Lessons { lessons, .. } => Ok(lessons),
            _ => Err(unexpected()),
        }
    }

    /// Gives up what was asked.
    pub fn cancel(&self, id: u32) {
        if let Some(client) = &*self.client.borrow() {
            super::dom::report(client.cancel(id));
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If the model is not there.
    pub fn ask(
        &self,
        request: impl FnOnce(u32) -> Request,
        image: Option<&Uint8Array>,
    ) -> Result<Asked, Failure> {
        let client = self.client.borrow();
        let asked = client.as_ref().map(|client| client.ask(request, image));
        match asked {
            Some(Ok(asked)) => Ok(asked),
            Some(Err(_)) | None => Err(Failure::new(
                Code::Input,
                words::say("not-loaded", &[]),
                words::say("not-loaded-hint", &[]),
            )),
        }
    }

    fn hear(&self, event: Event) -> Result<(), JsValue> {
        match event {
            Event::Awake => {
                // It may be one in place of another that has ended.
                self.network.loading();
                self.progress.show(0, 0);
                let client = self.client.borrow();
                let choice = self.choice.borrow();
                client
                    .as_ref()
                    .map_or(Ok(()), |client| client.load(&choice, self.keeps.get()))
            }
            Event::Progress { loaded, total } => {
                self.progress.show(loaded, total);
                Ok(())
            }
            Event::Ready { summary } => {
                let fell_back = self.client.borrow().as_ref().is_some_and(Client::fell_back);
                self.progress.done(&summary, fell_back);
                if self.ready().is_some() {
                    // For the widgets nothing has changed: what they asked is asked again.
                    self.network.loaded();
                } else {
                    self.set(State::Ready(Rc::new(summary)));
                }
                Ok(())
            }
            Event::Failed { failure, .. } => {
                self.client.borrow_mut().take();
                self.progress.failed();
                self.notice.say(&failure, true);
                self.set(State::Failed);
                Ok(())
            }
            // Answers go to whoever asked.
            _ => Ok(()),
        }
    }

    fn set(&self, state: State) {
        *self.state.borrow_mut() = state.clone();
        // A listener may add another.
        let listeners = self.listeners.borrow().clone();
        listeners.iter().for_each(|listener| listener(&state));
    }
}

fn unexpected() -> Failure {
    Failure::new(
        Code::Internal,
        words::say("crash-unknown", &["?"]),
        words::say("crash-unknown-hint", &[]),
    )
}
