//! Owns the bench: one post, its two sides, and the asking that follows every change of it.

mod camera;
pub mod picture;
pub mod post;
pub mod samples;
mod side;
pub mod text;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shared::case::Case;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::protocol::{Code, Failure, Modality};
use crate::ui::answer::chosen::Chosen;
use crate::ui::answer::compare::{ByCase, Compare};
use crate::ui::answer::rests::Rests;
use crate::ui::answer::result::ResultPanel;
use crate::ui::client::is_cancelled;
use crate::ui::dom::report;
use crate::ui::model::{Answer, Model, State};
use crate::ui::notice::Notice;
use crate::ui::numbers::milliseconds;
use crate::ui::words;
use camera::Camera;
use picture::{Change, PictureBox};
use post::{Picture, Post};
use side::Side;
use text::Text;

/// About as many times as an answer an explanation takes; where that is longer than this, the visitor asks for it.
const PASSES: f64 = 60.0;
const LONGEST_MILLISECONDS: f64 = 4000.0;

/// The bench.
pub struct Bench {
    model: Rc<Model>,
    notice: Rc<Notice>,
    post: RefCell<Post>,
    /// Counts changes of the post: an answer to an older one is of no interest.
    turn: Cell<u32>,
    /// An answer is awaited. One request at a time: a queue would only hold old posts.
    asking: Cell<bool>,
    /// The number of the last file whose reading began: only that one counts.
    ticket: Cell<u32>,
    picture: Rc<PictureBox>,
    text: Rc<Text>,
    sides: [Rc<Side>; 2],
    result: ResultPanel,
    chosen: Rc<Chosen>,
    rests: Rc<Rests>,
    compare: Compare,
    /// The predictions of the post by case, as far as they are there.
    seen: RefCell<ByCase>,
    /// How long an answer took last, in milliseconds.
    pace: Cell<f64>,
    /// The number of the explanation that is awaited.
    explaining: Cell<Option<u32>>,
}

impl Bench {
    /// Finds the bench in the page, and listens to it and to the model.
    ///
    /// # Errors
    /// If index.html lacks an element.
    pub fn find(model: Rc<Model>, notice: Rc<Notice>) -> Result<Rc<Self>, JsValue> {
        let slot: Rc<RefCell<Option<Rc<Self>>>> = Rc::default();
        let with = |slot: &Rc<RefCell<Option<Rc<Self>>>>| {
            let slot = Rc::clone(slot);
            move || slot.borrow().clone()
        };
        let (of_picture, of_text) = (with(&slot), with(&slot));
        let (hide_image, hide_text) = (with(&slot), with(&slot));
        let (choose, ask) = (with(&slot), with(&slot));
        let bench = Rc::new(Self {
            post: RefCell::default(),
            turn: Cell::new(0),
            asking: Cell::new(false),
            ticket: Cell::new(0),
            picture: PictureBox::find(move |change| {
                if let Some(bench) = of_picture() {
                    bench.take(change);
                }
            })?,
            text: Text::find(move |words| {
                if let Some(bench) = of_text() {
                    bench.set_text(words);
                }
            })?,
            sides: [
                Side::find(Modality::Image, move |hidden| {
                    if let Some(bench) = hide_image() {
                        bench.hide(Modality::Image, hidden);
                    }
                })?,
                Side::find(Modality::Text, move |hidden| {
                    if let Some(bench) = hide_text() {
                        bench.hide(Modality::Text, hidden);
                    }
                })?,
            ],
            result: ResultPanel::find()?,
            chosen: Chosen::find(move || {
                if let Some(bench) = choose() {
                    bench.look_at_class(false);
                }
            })?,
            rests: Rests::find(move || {
                if let Some(bench) = ask() {
                    bench.look_at_class(true);
                }
            })?,
            compare: Compare::find()?,
            seen: RefCell::default(),
            pace: Cell::new(0.0),
            explaining: Cell::new(None),
            model: Rc::clone(&model),
            notice,
        });
        *slot.borrow_mut() = Some(Rc::clone(&bench));
        let hears = Rc::clone(&bench);
        model.listen(move |state| {
            if !matches!(state, State::Failed) {
                hears.changed();
            }
        });
        let shot = Rc::clone(&bench);
        Camera::find(move |taken| match taken {
            Ok(picture) => shot.set_picture(Some(picture)),
            Err(failure) => shot.notice.say(&failure, false),
        })?;
        // A browser may have kept the text from before a reload.
        bench.post.borrow_mut().text = bench.text.value();
        bench.changed();
        Ok(bench)
    }

    /// Puts a whole post on the bench.
    pub fn put(self: &Rc<Self>, picture: Option<Picture>, text: &str) {
        self.text.set(text);
        let mut post = self.post.borrow_mut();
        text.clone_into(&mut post.text);
        post.hidden = [false; 2];
        drop(post);
        report(self.result.reveal());
        self.set_picture(picture);
    }

    /// The post that is on the bench.
    pub fn post(&self) -> Post {
        self.post.borrow().clone()
    }

    /// Asks again for the same post, for the model knows more.
    pub fn again(self: &Rc<Self>) {
        self.changed();
    }

    /// Takes what the visitor has picked, dropped or pasted.
    pub fn take(self: &Rc<Self>, change: Change) {
        match change {
            Change::File(file) => {
                let ticket = self.ticket.get() + 1;
                self.ticket.set(ticket);
                let bench = Rc::clone(self);
                spawn_local(async move {
                    let picture = Picture::read(&file).await;
                    if ticket == bench.ticket.get() {
                        match picture {
                            Ok(picture) => bench.set_picture(Some(picture)),
                            Err(failure) => bench.notice.say(&failure, false),
                        }
                    }
                });
            }
            Change::Words(words) => {
                self.text.set(&words);
                self.set_text(words);
            }
            Change::Address => self.notice.say(
                &Failure::new(
                    Code::Input,
                    words::say("address", &[]),
                    words::say("address-hint", &[]),
                ),
                false,
            ),
            Change::Removed => self.set_picture(None),
        }
    }

    fn set_picture(self: &Rc<Self>, picture: Option<Picture>) {
        // A file still being read must not come back later.
        self.ticket.set(self.ticket.get() + 1);
        self.picture.show(picture.as_ref());
        let mut post = self.post.borrow_mut();
        post.picture = picture;
        // Whoever gives a picture wants it seen.
        post.hidden[Modality::Image as usize] = false;
        drop(post);
        self.notice_again();
    }

    fn set_text(self: &Rc<Self>, text: String) {
        self.post.borrow_mut().text = text;
        self.notice_again();
    }

    fn hide(self: &Rc<Self>, side: Modality, hidden: bool) {
        self.post.borrow_mut().hidden[side as usize] = hidden;
        self.notice_again();
    }

    /// What went wrong with the post before is of no interest now; that the model is not there still is.
    fn notice_again(self: &Rc<Self>) {
        self.notice.clear_of_posts();
        self.changed();
    }

    /// The post is another, or the model: asks, or says why there is nothing to ask.
    fn changed(self: &Rc<Self>) {
        self.turn.set(self.turn.get() + 1);
        self.stop_explaining();
        let post = self.post.borrow();
        if !post.is_complete() {
            self.compare.hide();
        }
        let there = [post.image().is_some(), post.words().is_some()];
        for ((side, there), hidden) in self.sides.iter().zip(there).zip(post.hidden) {
            side.show(there, hidden);
        }
        if post.case().is_none() {
            let hidden = there.contains(&true);
            self.result.say(&words::say(
                if hidden { "all-hidden" } else { "empty" },
                &[],
            ));
            return;
        }
        if self.model.ready().is_none() {
            self.result.say(&words::say("waiting", &[]));
            return;
        }
        self.result.busy(true);
        if !self.asking.replace(true) {
            let bench = Rc::clone(self);
            spawn_local(async move { bench.answer().await });
        }
    }

    /// Asks until the answer is that of the post which is there; then for what else is shown of it.
    async fn answer(self: Rc<Self>) {
        let mut answered = None;
        while self.model.ready().is_some() {
            let turn = self.turn.get();
            let post = self.post.borrow().clone();
            if post.case().is_none() {
                break;
            }
            let (image, text) = post.shown();
            let answer = self.model.classify(image, text).await;
            if turn == self.turn.get() {
                answered = Some((turn, post, answer));
                break;
            }
        }
        self.asking.set(false);
        match answered {
            Some((turn, post, Ok(answer))) => report(self.show(turn, &post, answer).await),
            Some((_, _, Err(failure))) => {
                self.result.say(&words::say("no-answer", &[]));
                self.compare.hide();
                if self.model.ready().is_some() {
                    self.notice.say(&failure, false);
                }
            }
            None => {}
        }
    }

    /// Shows an answer; then asks what the answer would be in the other cases, and what it rests on.
    async fn show(self: &Rc<Self>, turn: u32, post: &Post, answer: Answer) -> Result<(), JsValue> {
        let Answer {
            prediction,
            milliseconds: time,
        } = answer;
        self.pace.set(time);
        self.result.show(&prediction, &milliseconds(time))?;
        self.chosen.offer(&prediction)?;
        let own = prediction.case;
        let mut seen = ByCase::default();
        seen[own.index()] = Some(prediction);
        if post.is_complete() {
            for case in Case::ALL.into_iter().filter(|&case| case != own) {
                let image = post.image().filter(|_| case.has(Modality::Image));
                let text = post.words().filter(|_| case.has(Modality::Text));
                let other = self.model.classify(image, text).await;
                if turn != self.turn.get() {
                    return Ok(());
                }
                seen[case.index()] = other.ok().map(|answer| answer.prediction);
            }
        }
        *self.seen.borrow_mut() = seen;
        self.look_at_class(false);
        Ok(())
    }

    /// Shows what is to be said of the chosen class; `asked` if the visitor wants it however long it takes.
    fn look_at_class(self: &Rc<Self>, asked: bool) {
        let Some(class) = self.chosen.class() else {
            return;
        };
        if self.post.borrow().is_complete() {
            report(self.compare.show(&self.seen.borrow(), class));
        }
        self.stop_explaining();
        if !asked && self.pace.get() * PASSES > LONGEST_MILLISECONDS {
            self.rests.offer();
            return;
        }
        self.rests.wait();
        let bench = Rc::clone(self);
        spawn_local(async move { bench.explain(class).await });
    }

    async fn explain(self: Rc<Self>, class: usize) {
        let turn = self.turn.get();
        let post = self.post.borrow().clone();
        let (image, text) = post.shown();
        let begun = |id| self.explaining.set(Some(id));
        let found = self.model.explain(image, text, class, begun).await;
        if turn != self.turn.get() || found.as_ref().is_err_and(is_cancelled) {
            return;
        }
        self.explaining.set(None);
        let picture = post
            .picture
            .as_ref()
            .map(|picture| picture.address.as_str());
        match found {
            Ok(explanation) => report(self.rests.show(&explanation, picture)),
            Err(failure) => {
                self.rests.clear();
                if self.model.ready().is_some() {
                    self.notice.say(&failure, false);
                }
            }
        }
    }

    fn stop_explaining(&self) {
        if let Some(id) = self.explaining.take() {
            self.model.cancel(id);
        }
    }
}
