//! Owns the bench: one post, its two sides, and the asking that follows every change of it.

pub mod picture;
pub mod post;
pub mod samples;
mod side;
pub mod text;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::protocol::{Code, Failure, Modality};
use crate::ui::answer::result::ResultPanel;
use crate::ui::model::{Model, State};
use crate::ui::notice::Notice;
use crate::ui::numbers::milliseconds;
use crate::ui::words;
use picture::{Change, PictureBox};
use post::{Picture, Post};
use side::Side;
use text::Text;

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
        // A browser may have kept the text from before a reload.
        bench.post.borrow_mut().text = bench.text.value();
        bench.changed();
        Ok(bench)
    }

    /// Puts a whole post on the bench.
    pub fn put(self: &Rc<Self>, picture: Option<Picture>, text: &str) {
        self.text.set(text);
        text.clone_into(&mut self.post.borrow_mut().text);
        crate::ui::dom::report(self.result.reveal());
        self.set_picture(picture);
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
        self.post.borrow_mut().picture = picture;
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
        let post = self.post.borrow();
        let there = [post.image().is_some(), post.words().is_some()];
        for (side, there) in self.sides.iter().zip(there) {
            side.show(there);
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

    /// Asks until the answer is that of the post which is there.
    async fn answer(self: Rc<Self>) {
        loop {
            let turn = self.turn.get();
            let post = self.post.borrow().clone();
            if post.case().is_none() || self.model.ready().is_none() {
                break;
            }
            let (image, text) = post.shown();
            let answer = self.model.classify(image, text).await;
            if turn != self.turn.get() {
                continue;
            }
            match answer {
                Ok(answer) => crate::ui::dom::report(
                    self.result
                        .show(&answer.prediction, &milliseconds(answer.milliseconds)),
                ),
                Err(failure) => {
                    self.result.say(&words::say("no-answer", &[]));
                    if self.model.ready().is_some() {
                        self.notice.say(&failure, false);
                    }
                }
            }
            break;
        }
        self.asking.set(false);
    }
}
