//! Owns the view "Many posts": what was given, the work on it, and what is shown of it.

mod batch;
mod download;
mod jsonl;
mod list;
mod progress;
mod run;
mod source;
mod summary;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Event, HtmlElement, HtmlInputElement};

use crate::promise::pause;
use crate::protocol::limits::BATCH_POSTS;
use crate::protocol::{Code, Failure};
use crate::ui::dom::{by_id, document, listen, report, show};
use crate::ui::files::{Dropped, Given, picked};
use crate::ui::model::Model;
use crate::ui::notice::Notice;
use crate::ui::words;
use batch::Batch;
use list::List;
use progress::Progress;
use run::{End, Run};
use source::Source;
use summary::Summary;

/// The page follows the work this often, in milliseconds.
const SHOW: i32 = 300;
/// How long a model that refuses is left alone, in milliseconds.
const REFUSED: i32 = 1_000;

/// The view.
pub(super) struct Many {
    model: Rc<Model>,
    notice: Rc<Notice>,
    run: RefCell<Option<Rc<Run>>>,
    /// Counts what was given: what belongs to something older is of no interest.
    turn: Cell<u32>,
    panel: HtmlElement,
    stop: HtmlElement,
    resume: HtmlElement,
    clear: HtmlElement,
    save: HtmlElement,
    every: HtmlInputElement,
    folder: HtmlInputElement,
    progress: Progress,
    summary: Summary,
    list: Rc<List>,
}

impl Many {
    /// Finds the view in the page, and listens to it and to the model.
    ///
    /// # Errors
    /// If index.html lacks an element.
    pub(super) fn find(model: Rc<Model>, notice: Rc<Notice>) -> Result<Rc<Self>, JsValue> {
        let slot: Rc<RefCell<Option<Rc<Self>>>> = Rc::default();
        let turned = Rc::clone(&slot);
        let many = Rc::new(Self {
            model: Rc::clone(&model),
            notice,
            run: RefCell::default(),
            turn: Cell::new(0),
            panel: by_id("many-run")?,
            stop: by_id("many-stop")?,
            resume: by_id("many-resume")?,
            clear: by_id("many-clear")?,
            save: by_id("many-save")?,
            every: by_id("many-every")?,
            folder: by_id("many-folder")?,
            progress: Progress::find()?,
            summary: Summary::find()?,
            list: List::find(move || {
                if let Some(many) = &*turned.borrow() {
                    many.show_list();
                }
            })?,
        });
        *slot.borrow_mut() = Some(Rc::clone(&many));
        many.listen_to_buttons()?;
        let hears = Rc::clone(&many);
        model.listen(move |_| {
            if let Some(run) = hears.current() {
                run.wake();
            }
        });
        Ok(many)
    }

    fn listen_to_buttons(self: &Rc<Self>) -> Result<(), JsValue> {
        for input in [self.folder.clone(), by_id("many-files")?] {
            let (many, picker) = (Rc::clone(self), input.clone());
            listen(&input, "change", move |_: Event| {
                let Some(list) = picker.files().filter(|list| list.length() > 0) else {
                    return;
                };
                let many = Rc::clone(&many);
                let turn = many.begin();
                let picker = picker.clone();
                spawn_local(async move {
                    let files = picked(list).await;
                    // So that the same files can be chosen again.
                    picker.set_value("");
                    many.read(turn, files).await;
                });
            })?;
        }
        let many = Rc::clone(self);
        listen(&self.stop, "click", move |_: Event| match many.current() {
            Some(run) => run.stop(),
            // It was still being read.
            None => many.forget(),
        })?;
        let many = Rc::clone(self);
        listen(&self.resume, "click", move |_: Event| {
            if let Some(run) = many.current() {
                let many = Rc::clone(&many);
                // It is about to go: the focus goes to what takes its place.
                show(&many.stop, true);
                report(many.stop.focus());
                spawn_local(async move { many.work(run).await });
            }
        })?;
        let many = Rc::clone(self);
        listen(&self.clear, "click", move |_: Event| many.forget())?;
        let many = Rc::clone(self);
        listen(&self.save, "click", move |_: Event| {
            if let Some(run) = many.current() {
                let every = many.every.checked();
                spawn_local(async move { report(download::save(&run.batch, every).await) });
            }
        })
    }

    /// Takes files and folders that were dropped.
    pub(super) fn take(self: &Rc<Self>, dropped: Dropped) {
        let many = Rc::clone(self);
        let turn = many.begin();
        spawn_local(async move {
            match dropped.files(BATCH_POSTS).await {
                Ok(files) => many.read(turn, files).await,
                Err(_) => many.refuse(turn, &unreadable()),
            }
        });
    }

    fn current(&self) -> Option<Rc<Run>> {
        self.run.borrow().clone()
    }

    /// Something else is given: what was before ends.
    fn begin(&self) -> u32 {
        if let Some(run) = self.run.borrow_mut().take() {
            run.stop();
        }
        self.turn.set(self.turn.get() + 1);
        self.notice.clear_of_posts();
        report(self.list.begin(None));
        self.summary.hide();
        self.buttons(true, false, false);
        self.progress.say(&words::say("many-looking", &[]), false);
        show(&self.panel, true);
        self.turn.get()
    }

    /// Nothing is given any more.
    fn forget(&self) {
        self.begin();
        self.progress.announce("");
        show(&self.panel, false);
        report(self.folder.focus());
    }

    /// Refuses what was given, with the reason.
    fn refuse(&self, turn: u32, failure: &Failure) {
        if turn == self.turn.get() {
            show(&self.panel, false);
            self.notice.say(failure, false);
        }
    }

    /// Makes posts of the files, and works on them.
    async fn read(self: &Rc<Self>, turn: u32, files: Vec<Given>) {
        let read = async {
            let source = Source::of(files)?;
            let posts = source
                .posts(|sentence| {
                    if turn == self.turn.get() {
                        self.progress.say(sentence, false);
                    }
                    turn == self.turn.get()
                })
                .await?;
            Ok((source, posts))
        };
        match read.await {
            Err(failure) => self.refuse(turn, &failure),
            Ok(_) if turn != self.turn.get() => {}
            Ok((source, posts)) => {
                let run = Rc::new(Run::new(Rc::clone(&self.model), source, Batch::new(posts)));
                *self.run.borrow_mut() = Some(Rc::clone(&run));
                report(self.list.begin(Some(&run.batch.borrow())));
                // The last of the table was read a moment ago: the page gets its turn before it is shown.
                pause(0).await;
                if self.is_current(&run) {
                    self.work(run).await;
                }
            }
        }
    }

    /// Works on a batch until it is done or stopped, and shows it meanwhile.
    async fn work(self: &Rc<Self>, run: Rc<Run>) {
        run.resume();
        self.summary.hide();
        self.buttons(true, false, true);
        self.progress.begin(&run.batch.borrow());
        self.show_list();
        let working = Rc::new(Cell::new(true));
        self.follow(&run, &working);
        let end = loop {
            let known = |classes: &[String]| report(self.list.offer(classes));
            match run.work(known).await {
                End::Away if run.is_stopped() => break End::Stopped,
                End::Away if self.model.ready().is_some() => pause(REFUSED).await,
                End::Away => {
                    self.progress.say(&words::say("many-away", &[]), true);
                    run.wait().await;
                    if run.is_stopped() {
                        break End::Stopped;
                    }
                }
                end => break end,
            }
        };
        working.set(false);
        if self.is_current(&run) {
            self.ended(&run, &end);
        }
    }

    /// Shows how far it is, a few times a second.
    fn follow(self: &Rc<Self>, run: &Rc<Run>, working: &Rc<Cell<bool>>) {
        let (many, run, working) = (Rc::clone(self), Rc::clone(run), Rc::clone(working));
        spawn_local(async move {
            loop {
                pause(SHOW).await;
                if !working.get() || !many.is_current(&run) {
                    break;
                }
                if many.model.ready().is_some() {
                    many.progress.show(&run.batch.borrow());
                    many.show_list();
                }
            }
        });
    }

    fn ended(&self, run: &Run, end: &End) {
        let batch = run.batch.borrow();
        let stopped = matches!(end, End::Stopped);
        self.progress.show(&batch);
        self.show_list();
        // The button goes, and with it would go the focus.
        let focused = document()
            .ok()
            .and_then(|document| document.active_element());
        let focused = focused.is_some_and(|element| *element == **self.stop);
        self.buttons(false, stopped, true);
        if focused {
            report(if stopped { &self.resume } else { &self.save }.focus());
        }
        self.progress.announce(&self.summary.show(&batch));
        if matches!(end, End::Other) {
            self.notice.say(
                &Failure::new(
                    Code::Input,
                    words::say("many-other", &[]),
                    words::say("many-other-hint", &[]),
                ),
                false,
            );
        }
    }

    fn is_current(&self, run: &Rc<Run>) -> bool {
        self.run
            .borrow()
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, run))
    }

    fn show_list(&self) {
        if let Some(run) = self.current() {
            report(self.list.show(&run.batch.borrow()));
        }
    }

    fn buttons(&self, stop: bool, resume: bool, posts: bool) {
        show(&self.stop, stop);
        show(&self.resume, resume);
        show(&self.clear, posts && !stop);
        if let Some(panel) = self.save.parent_element() {
            // Also while it works: what is done can be had at any time.
            let _ = panel.toggle_attribute_with_force("hidden", !posts);
        }
    }
}

fn unreadable() -> Failure {
    Failure::new(
        Code::Input,
        words::say("many-unreadable", &[]),
        words::say("picture-unreadable-hint", &[]),
    )
}
