//! Owns the page's state and the one place where it changes: every widget and the worker report an action here.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::bundles::{Bundles, Choice, News};
use super::client::Client;
use super::dom::report;
use super::network::Network;
use super::notice::Notice;
use super::offer::{self, Offer};
use super::picture::{Change, PictureBox};
use super::post::{Picture, Post};
use super::progress::Progress;
use super::question::Question;
use super::result::ResultPanel;
use super::storage::Storage;
use super::text::Text;
use super::{samples, words};
use crate::protocol::{Code, Event, Failure, Request, Summary};

/// Everything that can happen to the page.
enum Action {
    Image(Change),
    Read {
        ticket: u32,
        picture: Result<Picture, Failure>,
    },
    Text(String),
    Sample(Option<Picture>, &'static str),
    SamplesShown,
    /// The bundles beside the page are known.
    Offers(Vec<Offer>),
    Model(News),
    /// What is kept of page and model was seen to.
    Settled,
    Forgotten,
    Restart,
    Worker(Event),
}

/// The page: the post, the worker, and the widgets that show them.
pub struct Page {
    act: Rc<dyn Fn(Action)>,
    client: RefCell<Option<Client>>,
    post: RefCell<Post>,
    /// Whether the model answers.
    ready: Cell<bool>,
    /// The model that is in use or on its way.
    choice: RefCell<Option<Choice>>,
    /// What must be there until nothing more is fetched: the samples, and the model with everything kept.
    samples_shown: Cell<bool>,
    settled: Cell<bool>,
    /// The number of the last request, and whether its answer is awaited.
    asked: Cell<u32>,
    awaiting: Cell<bool>,
    /// The post changed while an answer was awaited. One request at a time: a queue would only hold old posts.
    stale: Cell<bool>,
    /// The number of the last file whose reading began: only that one counts.
    ticket: Cell<u32>,
    picture: Rc<PictureBox>,
    text: Rc<Text>,
    progress: Progress,
    result: ResultPanel,
    notice: Rc<Notice>,
    network: Network,
    bundles: Rc<Bundles>,
    storage: Rc<Storage>,
    question: Question,
}

impl Page {
    /// Wires the page and starts the model.
    ///
    /// # Errors
    /// If index.html lacks an element, or the browser cannot run a worker.
    pub fn start() -> Result<(), JsValue> {
        let slot: Rc<OnceCell<Page>> = Rc::new(OnceCell::new());
        let act: Rc<dyn Fn(Action)> = {
            let slot = Rc::clone(&slot);
            Rc::new(move |action| report(slot.get().map_or(Ok(()), |page| page.update(action))))
        };
        let with = || Rc::clone(&act);
        let (image, text, again) = (with(), with(), with());
        let (model, agreed, forgotten) = (with(), with(), with());
        let page = Page {
            client: RefCell::default(),
            post: RefCell::default(),
            ready: Cell::new(false),
            choice: RefCell::default(),
            samples_shown: Cell::new(false),
            settled: Cell::new(false),
            asked: Cell::new(0),
            awaiting: Cell::new(false),
            stale: Cell::new(false),
            ticket: Cell::new(0),
            picture: PictureBox::find(move |change| image(Action::Image(change)))?,
            text: Text::find(move |words| text(Action::Text(words)))?,
            progress: Progress::find()?,
            result: ResultPanel::find()?,
            notice: Notice::find(move || again(Action::Restart))?,
            network: Network::observe()?,
            bundles: Bundles::find(move |news| model(Action::Model(news)))?,
            storage: Storage::find(move || forgotten(Action::Forgotten))?,
            question: Question::find(move || agreed(Action::Restart))?,
            act,
        };
        page.result.say(words::EMPTY);
        page.post.borrow_mut().text = page.text.value();
        let offered = Rc::clone(&page.act);
        spawn_local(async move { offered(Action::Offers(offer::offers().await)) });
        let (chosen, shown) = (Rc::clone(&page.act), Rc::clone(&page.act));
        spawn_local(async move {
            report(
                samples::show(move |picture, caption| chosen(Action::Sample(picture, caption)))
                    .await,
            );
            shown(Action::SamplesShown);
        });
        let _ = slot.set(page);
        Ok(())
    }

    fn update(&self, action: Action) -> Result<(), JsValue> {
        match action {
            Action::Image(Change::File(file)) => {
                let ticket = self.ticket.get() + 1;
                self.ticket.set(ticket);
                let act = Rc::clone(&self.act);
                spawn_local(async move {
                    let picture = Picture::read(&file).await;
                    act(Action::Read { ticket, picture });
                });
                Ok(())
            }
            Action::Image(Change::Words(words)) => {
                self.text.set(&words);
                self.update(Action::Text(words))
            }
            Action::Image(Change::Address) => {
                self.notice.say(
                    &Failure::new(
                        Code::Input,
                        "That is an address, and this page makes no requests.",
                        "Save the picture and drop its file, or copy the picture itself and paste it.",
                    ),
                    false,
                );
                Ok(())
            }
            Action::Image(Change::Removed) => self.set_picture(None),
            Action::Read { ticket, .. } if ticket != self.ticket.get() => Ok(()),
            Action::Read {
                picture: Ok(picture),
                ..
            } => self.set_picture(Some(picture)),
            Action::Read {
                picture: Err(failure),
                ..
            } => {
                self.notice.say(&failure, false);
                Ok(())
            }
            Action::Text(text) => {
                self.post.borrow_mut().text = text;
                self.changed()
            }
            Action::Sample(picture, caption) => {
                self.text.set(caption);
                self.post.borrow_mut().text = caption.to_owned();
                self.result.reveal()?;
                self.set_picture(picture)
            }
            Action::SamplesShown => {
                self.samples_shown.set(true);
                self.fetched();
                Ok(())
            }
            Action::Offers(offers) => self.offer(offers),
            Action::Model(News::Chosen(choice)) => self.load(choice),
            Action::Model(News::Refused(failure)) => {
                self.notice.say(&failure, false);
                Ok(())
            }
            Action::Settled => {
                self.settled.set(true);
                self.fetched();
                Ok(())
            }
            Action::Forgotten => {
                self.bundles.forgotten();
                Ok(())
            }
            Action::Restart => self.start_worker(),
            Action::Worker(event) => self.hear(event),
        }
    }

    fn set_picture(&self, picture: Option<Picture>) -> Result<(), JsValue> {
        // A file still being read must not come back later.
        self.ticket.set(self.ticket.get() + 1);
        self.picture.show(picture.as_ref());
        self.post.borrow_mut().picture = picture;
        self.changed()
    }

    /// The post is another: asks, or says why there is nothing to ask.
    fn changed(&self) -> Result<(), JsValue> {
        if self.client.borrow().is_some() {
            self.notice.clear();
        }
        self.ask()
    }

    fn ask(&self) -> Result<(), JsValue> {
        let post = self.post.borrow();
        if self.awaiting.get() {
            self.stale.set(true);
        }
        if post.is_empty() {
            self.result.say(words::EMPTY);
            return Ok(());
        }
        if !self.ready.get() {
            self.result.say(words::WAITING);
            return Ok(());
        }
        self.result.busy(true);
        if self.awaiting.replace(true) {
            return Ok(());
        }
        self.asked.set(self.asked.get() + 1);
        let request = Request::Classify {
            id: self.asked.get(),
            text: post.words().map(str::to_owned),
        };
        let image = post.picture.as_ref().map(|picture| &picture.bytes);
        self.client
            .borrow()
            .as_ref()
            .map_or(Ok(()), |client| client.ask(&request, image))
    }

    fn hear(&self, event: Event) -> Result<(), JsValue> {
        match event {
            Event::Awake => {
                let client = self.client.borrow();
                match (&*client, &*self.choice.borrow()) {
                    (Some(client), Some(choice)) => client.load(choice),
                    _ => Ok(()),
                }
            }
            Event::Progress { loaded, total } => {
                self.progress.show(loaded, total);
                Ok(())
            }
            Event::Ready { summary } => {
                self.ready.set(true);
                let client = self.client.borrow();
                let fell_back = client.as_ref().is_some_and(Client::fell_back);
                drop(client);
                self.progress.done(&summary, fell_back);
                self.keep(summary);
                self.ask()
            }
            Event::Prediction {
                id,
                prediction,
                milliseconds,
                requests,
            } => {
                self.network.worker_made(requests);
                if id != self.asked.get() {
                    return Ok(());
                }
                self.awaiting.set(false);
                if self.stale.replace(false) {
                    return self.ask();
                }
                self.result
                    .show(&prediction, &words::milliseconds(milliseconds))
            }
            Event::Failed {
                id: Some(_),
                failure,
            } => {
                self.awaiting.set(false);
                if self.stale.replace(false) {
                    return self.ask();
                }
                self.result.say(words::NO_ANSWER);
                self.notice.say(&failure, false);
                Ok(())
            }
            Event::Failed { id: None, failure } => {
                self.stop_worker();
                self.progress.failed();
                self.notice.say(&failure, true);
                Ok(())
            }
        }
    }

    /// Shows the bundles beside the page, and loads the first if nobody need be asked.
    fn offer(&self, offers: Vec<Offer>) -> Result<(), JsValue> {
        let first = offers.first().cloned();
        self.bundles.offer(offers)?;
        // The visitor may have been quicker.
        if self.choice.borrow().is_some() {
            return Ok(());
        }
        let welcome = first.as_ref().is_none_or(Offer::is_welcome);
        let first = first.unwrap_or_else(Offer::unlisted);
        if welcome {
            return self.load(Choice::Offered(first));
        }
        self.progress.failed();
        self.question.ask(&first);
        *self.choice.borrow_mut() = Some(Choice::Offered(first));
        Ok(())
    }

    /// Loads a model in place of the one that is there.
    fn load(&self, choice: Choice) -> Result<(), JsValue> {
        *self.choice.borrow_mut() = Some(choice);
        self.start_worker()
    }

    /// Has page and model kept, and says what is.
    fn keep(&self, summary: Summary) {
        let choice = self.choice.borrow().clone();
        let from_address = matches!(choice, Some(Choice::Offered(_)));
        let kept = from_address && summary.refused.is_none();
        self.bundles.using(choice.as_ref(), kept);
        let (storage, act) = (Rc::clone(&self.storage), Rc::clone(&self.act));
        spawn_local(async move {
            storage.loaded(&summary, from_address).await;
            act(Action::Settled);
        });
    }

    /// Starts the worker, or starts it again after a failure or for another model.
    fn start_worker(&self) -> Result<(), JsValue> {
        self.stop_worker();
        self.question.answered();
        self.bundles.using(None, false);
        self.progress.show(0, 0);
        let act = Rc::clone(&self.act);
        let client = Client::start(Rc::new(move |event| act(Action::Worker(event))))?;
        *self.client.borrow_mut() = Some(client);
        Ok(())
    }

    fn stop_worker(&self) {
        self.client.borrow_mut().take();
        self.ready.set(false);
        self.settled.set(false);
        self.awaiting.set(false);
        self.stale.set(false);
    }

    /// One of the things fetched at the start is there; after the last one, every request counts.
    fn fetched(&self) {
        if self.samples_shown.get() && self.settled.get() {
            self.network.loaded();
        }
    }
}
