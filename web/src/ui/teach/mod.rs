//! Owns the teaching of classes: the post on the bench becomes an example, and what was taught is listed, renamed,
//! undone, saved as a file and opened again.

mod form;
mod kept;
mod table;

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Event as DomEvent, File, HtmlElement, HtmlInputElement};

use super::bench::Bench;
use super::dom::{by_id, listen, report, save};
use super::model::{Model, State};
use super::notice::Notice;
use super::numbers::label;
use super::words;
use crate::promise::settled;
use crate::protocol::{Code, Failure, Lessons, Request, limits};
use form::{Naming, Renaming};
use table::Table;

/// The teaching.
pub struct Teach {
    model: Rc<Model>,
    bench: Rc<Bench>,
    notice: Rc<Notice>,
    naming: Naming,
    renaming: Renaming,
    table: Table,
    said: HtmlElement,
    undo: HtmlElement,
    save: HtmlElement,
    clear: HtmlElement,
    now: RefCell<Option<Lessons>>,
    /// The files of what was taught before each change, the last one last.
    before: RefCell<Vec<String>>,
}

impl Teach {
    /// Finds the teaching in the page, and brings back what was kept once a model is loaded.
    ///
    /// # Errors
    /// If index.html lacks an element.
    pub fn find(
        model: Rc<Model>,
        bench: Rc<Bench>,
        notice: Rc<Notice>,
    ) -> Result<Rc<Self>, JsValue> {
        let teach = Rc::new(Self {
            naming: Naming::find()?,
            renaming: Renaming::find()?,
            table: Table::find()?,
            said: by_id("teach-said")?,
            undo: by_id("teach-undo")?,
            save: by_id("teach-save")?,
            clear: by_id("teach-clear")?,
            now: RefCell::default(),
            before: RefCell::default(),
            model: Rc::clone(&model),
            bench,
            notice,
        });
        teach.listen()?;
        let hears = Rc::clone(&teach);
        model.listen(move |state| match state {
            State::Ready(summary) => {
                let (teach, checksum) = (Rc::clone(&hears), summary.checksum.clone());
                spawn_local(async move {
                    let file = kept::read(&checksum).await;
                    let anything = file.is_some();
                    teach.learn(file, None).await;
                    if anything {
                        // A post that was there before was answered without.
                        teach.bench.again();
                    }
                });
            }
            State::Loading | State::Failed => {
                hears.now.take();
                hears.before.borrow_mut().clear();
                report(hears.show());
            }
        });
        Ok(teach)
    }

    /// Forgets everything that was taught, as after a removal of all that is kept.
    pub fn forget_all(self: &Rc<Self>) {
        let teach = Rc::clone(self);
        spawn_local(async move {
            teach
                .learn(None, Some(words::say("taught-nothing", &[])))
                .await;
        });
    }

    fn listen(self: &Rc<Self>) -> Result<(), JsValue> {
        let teach = Rc::clone(self);
        self.naming.on_submit(move |class| teach.add(class))?;
        let teach = Rc::clone(self);
        self.renaming.on_submit(move |from, to| {
            let said = words::say("renamed", &[&label(&from), &label(&to)]);
            teach.change(move |id| Request::Rename { id, from, to }, said);
        })?;
        let teach = Rc::clone(self);
        self.table.on_forget(move |class| {
            let said = words::say("forgotten", &[&label(&class)]);
            teach.change(move |id| Request::Forget { id, class }, said);
        });
        let teach = Rc::clone(self);
        listen(&self.undo, "click", move |_: DomEvent| {
            let last = teach.before.borrow_mut().pop();
            if let Some(file) = last {
                let teach = Rc::clone(&teach);
                spawn_local(async move {
                    let said = words::say("undone", &[]);
                    teach.learn(Some(file), Some(said)).await;
                });
            }
        })?;
        let teach = Rc::clone(self);
        listen(&self.clear, "click", move |_: DomEvent| {
            teach.change(
                |id| Request::Learn { id, file: None },
                words::say("taught-nothing", &[]),
            );
        })?;
        let teach = Rc::clone(self);
        listen(&self.save, "click", move |_: DomEvent| {
            if let Some(lessons) = &*teach.now.borrow() {
                let parts = Array::of1(&lessons.file.as_str().into());
                spawn_local(async move {
                    report(save("lacuna-classes.json", "application/json", &parts).await);
                });
            }
        })?;
        let input: HtmlInputElement = by_id("teach-open")?;
        let (teach, field) = (Rc::clone(self), input.clone());
        listen(&input, "change", move |_: DomEvent| {
            if let Some(file) = field.files().and_then(|files| files.get(0)) {
                let teach = Rc::clone(&teach);
                spawn_local(async move { teach.open(file).await });
            }
            field.set_value("");
        })
    }

    /// Adds the post on the bench to a class.
    fn add(self: &Rc<Self>, class: String) {
        let post = self.bench.post();
        let (image, text) = post.shown();
        let (image, text) = (image.cloned(), text.map(str::to_owned));
        if image.is_none() && text.is_none() {
            self.say(&words::say("teach-no-post", &[]));
            return;
        }
        let said = words::say("taught", &[&label(&class)]);
        let teach = Rc::clone(self);
        spawn_local(async move {
            let request = |id| Request::Teach { id, class, text };
            teach.ask(request, image.as_ref(), Some(said), true).await;
        });
    }

    /// Reads a file that was saved before.
    async fn open(self: Rc<Self>, file: File) {
        let name = file.name();
        let text = if file.size() > limits::LESSONS_BYTES as f64 {
            None
        } else {
            let text = settled(file.text()).await;
            text.ok().and_then(|text| text.as_string())
        };
        match text.filter(|text| !text.trim().is_empty()) {
            Some(file) => {
                let said = words::say("opened", &[&name]);
                let file = Some(file);
                self.ask(|id| Request::Learn { id, file }, None, Some(said), true)
                    .await;
            }
            None => self.notice.say(
                &Failure::new(
                    Code::Input,
                    words::say("lessons-unreadable", &[&name]),
                    words::say("lessons-unreadable-hint", &[]),
                ),
                false,
            ),
        }
    }

    /// Asks for a change that can be undone.
    fn change(self: &Rc<Self>, request: impl FnOnce(u32) -> Request + 'static, said: String) {
        let teach = Rc::clone(self);
        spawn_local(async move { teach.ask(request, None, Some(said), true).await });
    }

    /// Puts what a file says in place of what was taught, nothing if there is none; not to be undone.
    async fn learn(self: &Rc<Self>, file: Option<String>, said: Option<String>) {
        self.ask(|id| Request::Learn { id, file }, None, said, false)
            .await;
    }

    async fn ask(
        self: &Rc<Self>,
        request: impl FnOnce(u32) -> Request,
        image: Option<&js_sys::Uint8Array>,
        said: Option<String>,
        undoable: bool,
    ) {
        let before = self.now.borrow().as_ref().map(|now| now.file.clone());
        match self.model.lessons(request, image).await {
            Ok(lessons) => {
                if undoable {
                    self.before.borrow_mut().extend(before);
                }
                self.keep(&lessons).await;
                *self.now.borrow_mut() = Some(lessons);
                report(self.show());
                if let Some(said) = said {
                    self.say(&said);
                    self.bench.again();
                }
            }
            // What was taught to a model that went away meanwhile is of no interest.
            Err(_) if self.model.ready().is_none() => {}
            Err(failure) => self.notice.say(&failure, false),
        }
    }

    /// Keeps what was taught on the device; says so where that cannot be.
    async fn keep(&self, lessons: &Lessons) {
        let Some(summary) = self.model.ready() else {
            return;
        };
        let anything = !lessons.taught.is_empty() || !lessons.renamed.is_empty();
        let file = anything.then_some(lessons.file.as_str());
        if kept::write(&summary.checksum, file).await.is_err() && anything {
            self.notice.say(
                &Failure::new(
                    Code::Input,
                    words::say("lessons-not-kept", &[]),
                    words::say("lessons-not-kept-hint", &[]),
                ),
                false,
            );
        }
    }

    fn show(&self) -> Result<(), JsValue> {
        let now = self.now.borrow();
        let nothing = Lessons {
            file: String::new(),
            taught: Vec::new(),
            renamed: Vec::new(),
            classes: Vec::new(),
        };
        let lessons = now.as_ref().unwrap_or(&nothing);
        let anything = !lessons.taught.is_empty() || !lessons.renamed.is_empty();
        for (button, usable) in [
            (&self.undo, !self.before.borrow().is_empty()),
            (&self.save, anything),
            (&self.clear, anything),
        ] {
            button.toggle_attribute_with_force("disabled", !usable)?;
        }
        self.naming.offer(&lessons.taught)?;
        self.renaming.offer(&lessons.classes)?;
        self.table.show(&lessons.taught)
    }

    fn say(&self, said: &str) {
        self.said.set_text_content(Some(said));
    }
}
