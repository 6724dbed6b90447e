//! Owns working through a batch: two posts with the worker at most, pictures read when their turn comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::JsValue;

use super::batch::Batch;
use super::source::Source;
use crate::promise::settled;
use crate::protocol::{Code, Event, Failure, Request, Summary};
use crate::ui::bench::post::picture_bytes;
use crate::ui::client::{Asked, is_cancelled};
use crate::ui::model::Model;
use crate::ui::numbers::sentence;
use crate::ui::words;

/// A batch on its way.
pub(super) struct Run {
    model: Rc<Model>,
    source: Source,
    /// The posts and what became of them.
    pub(super) batch: RefCell<Batch>,
    /// What answers, from the first question on: answers of different models are not mixed.
    answers: RefCell<Option<Rc<Summary>>>,
    stopped: Cell<bool>,
    /// Who waits for the model, or for being stopped.
    waiting: RefCell<Option<Function>>,
}

/// How a stretch of work ended.
pub(super) enum End {
    /// No post waits any more.
    Done,
    /// The visitor stopped it.
    Stopped,
    /// The model is not there.
    Away,
    /// Another model is there than the one that began.
    Other,
}

impl Run {
    pub(super) fn new(model: Rc<Model>, source: Source, batch: Batch) -> Self {
        Self {
            model,
            source,
            batch: RefCell::new(batch),
            answers: RefCell::default(),
            stopped: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Stops before the next post.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.wake();
    }

    /// Takes back that it was stopped.
    pub(super) fn resume(&self) {
        self.stopped.set(false);
    }

    /// Whether it was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The model has changed: whoever waits looks again.
    pub(super) fn wake(&self) {
        if let Some(waiting) = self.waiting.borrow_mut().take() {
            let _ = waiting.call0(&JsValue::NULL);
        }
    }

    /// Waits for the next [`Run::wake`].
    pub(super) async fn wait(&self) {
        let promise = Promise::new(&mut |resolve, _| {
            *self.waiting.borrow_mut() = Some(resolve);
        });
        // It is only ever resolved.
        let _ = settled(promise).await;
    }

    /// Begins, or goes on after it was stopped or the model was away. The first time, `known` is called with the names
    /// of the classes.
    pub(super) async fn work(&self, known: impl Fn(&[String])) -> End {
        let Some(summary) = self.model.ready() else {
            return End::Away;
        };
        let before = self.answers.replace(Some(Rc::clone(&summary)));
        match before {
            None => {
                self.batch.borrow_mut().classes.clone_from(&summary.classes);
                known(&summary.classes);
            }
            Some(before) if before.about == summary.about && before.classes == summary.classes => {}
            Some(before) => {
                *self.answers.borrow_mut() = Some(before);
                return End::Other;
            }
        }
        self.stretch().await
    }

    /// Asks about one post after the other, the next one always before the answer to the one before is awaited.
    async fn stretch(&self) -> End {
        let mut ahead: Option<(usize, Asked)> = None;
        let mut place = 0;
        loop {
            let next = self.batch.borrow().waiting_from(place);
            let next = next.filter(|_| !self.stopped.get());
            let asked = match next {
                Some(next) => {
                    place = next + 1;
                    match self.ask(next).await {
                        Ok(asked) => asked.map(|asked| (next, asked)),
                        // The post before has its failure with it, and is not asked about again.
                        Err(_) if ahead.is_some() => None,
                        Err(_) => return End::Away,
                    }
                }
                None => None,
            };
            let (before, nothing_asked) = (ahead.take(), asked.is_none());
            if let Some((place, before)) = before {
                if !self.settle(place, before).await {
                    return End::Away;
                }
            } else if nothing_asked && next.is_none() {
                return match (self.stopped.get(), self.batch.borrow().waiting_from(0)) {
                    (true, _) => End::Stopped,
                    (false, None) => End::Done,
                    (false, Some(_)) => End::Away,
                };
            }
            ahead = asked;
        }
    }

    /// Sends a post to the worker; nothing is sent if its picture cannot be read.
    ///
    /// # Errors
    /// If the model is not there.
    async fn ask(&self, place: usize) -> Result<Option<Asked>, Failure> {
        let (picture, text) = {
            let batch = self.batch.borrow();
            let post = &batch.posts[place];
            let text = (!post.text.is_empty()).then(|| post.text.clone());
            (post.picture, text)
        };
        let image = match picture {
            None => None,
            Some(picture) => match self.picture(picture).await {
                Ok(bytes) => Some(bytes),
                Err(failure) => {
                    let said = sentence(&failure.message);
                    self.batch.borrow_mut().fail(place, said);
                    return Ok(None);
                }
            },
        };
        self.model
            .ask(|id| Request::Classify { id, text }, image.as_ref())
            .map(Some)
    }

    async fn picture(&self, place: usize) -> Result<Uint8Array, Failure> {
        let gone = || Failure::new(Code::Image, words::say("many-gone", &[]), "");
        let given = self.source.picture(place).ok_or_else(gone)?;
        let file = given.file().await.map_err(|_| gone())?;
        picture_bytes(&file).await
    }

    /// Waits for an answer and keeps it; false if the model has gone.
    async fn settle(&self, place: usize, asked: Asked) -> bool {
        let answer = asked.answer().await;
        let there = self.model.ready().is_some();
        match answer {
            Ok(Event::Prediction {
                prediction,
                requests,
                ..
            }) => {
                self.model.network().worker_made(requests);
                self.batch.borrow_mut().answer(place, &prediction);
                true
            }
            // Given up because another model is loaded: the post waits for it.
            Err(failure) if is_cancelled(&failure) => false,
            // If the worker ended, then most likely over this post, and would end over it again.
            Err(failure) => {
                let said = sentence(&failure.message);
                self.batch.borrow_mut().fail(place, said);
                there
            }
            Ok(_) => {
                let said = words::say("no-answer", &[]);
                self.batch.borrow_mut().fail(place, said);
                there
            }
        }
    }
}
