//! Owns the list of the models that can be loaded: those beside the page, and the visitor's own, from a folder or an
//! archive. Nothing of a model is fetched before it is chosen.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{DragEvent, Event, HtmlElement, HtmlInputElement};

use super::dom::{append, by_id, listen, report, show};
use super::local::{self, Local};
use super::numbers::bytes;
use super::offer::Offer;
use super::words;
use crate::protocol::Failure;

/// What the visitor wants loaded.
#[derive(Clone)]
pub enum Choice {
    /// The bundle of this folder beside the page.
    Offered(Offer),
    /// Their own.
    Own(Rc<Local>),
}

/// What happens in the list.
pub enum News {
    /// A model was chosen.
    Chosen(Choice),
    /// What was picked or dropped is no bundle.
    Refused(Failure),
}

/// The list.
pub struct Bundles {
    list: HtmlElement,
    rows: RefCell<Vec<Row>>,
    used: Cell<Option<usize>>,
    tell: Rc<dyn Fn(News)>,
}

struct Row {
    choice: Choice,
    button: HtmlElement,
    kept: HtmlElement,
}

impl Choice {
    /// What is known of it.
    pub fn offer(&self) -> &Offer {
        match self {
            Self::Offered(offer) => offer,
            Self::Own(local) => &local.offer,
        }
    }
}

impl Bundles {
    /// Finds the list in the page, and listens to folders and archives.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find(tell: impl Fn(News) + 'static) -> Result<Rc<Self>, JsValue> {
        let bundles = Rc::new(Self {
            list: by_id("bundles")?,
            rows: RefCell::default(),
            used: Cell::new(None),
            tell: Rc::new(tell),
        });
        for id in ["bundle-folder", "bundle-archive"] {
            bundles.listen_to_picking(&by_id(id)?)?;
        }
        bundles.listen_to_dropping()?;
        Ok(bundles)
    }

    /// Shows the bundles beside the page.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn offer(self: &Rc<Self>, offers: Vec<Offer>) -> Result<(), JsValue> {
        for offer in offers {
            self.add(Choice::Offered(offer))?;
        }
        Ok(())
    }

    /// Marks the bundle in use, and that all of it is on this device now. None is in use while one is loading.
    pub fn using(&self, choice: Option<&Choice>, kept: bool) {
        let rows = self.rows.borrow();
        let used = rows.iter().position(|row| match (&row.choice, choice) {
            (Choice::Offered(one), Some(Choice::Offered(other))) => one.folder == other.folder,
            (Choice::Own(one), Some(Choice::Own(other))) => Rc::ptr_eq(one, other),
            _ => false,
        });
        self.used.set(used);
        for (place, row) in rows.iter().enumerate() {
            let used = used == Some(place);
            row.mark(used);
            if used && kept {
                show(&row.kept, true);
            }
        }
    }

    /// Nothing is on this device any more.
    pub fn forgotten(&self) {
        for row in self.rows.borrow().iter() {
            show(&row.kept, false);
        }
    }

    fn add(self: &Rc<Self>, choice: Choice) -> Result<(), JsValue> {
        let offer = choice.offer();
        let item = append(&self.list, "li", "bundle")?;
        let text = append(&item, "div", "bundle-text")?;
        let name = offer.name();
        append(&text, "h3", "")?.set_text_content(Some(&name));
        for (class, words) in [
            ("bundle-what", Some(offer.about.description.clone())),
            ("bundle-figures", Some(figures(offer))),
            ("bundle-figures", words::accuracy(&offer.about)),
        ] {
            if let Some(words) = words.filter(|words| !words.is_empty()) {
                append(&text, "p", class)?.set_text_content(Some(&words));
            }
        }
        let kept = append(&text, "p", "bundle-kept")?;
        let own = matches!(choice, Choice::Own(_));
        let said = if own { "offer-own" } else { "offer-kept" };
        kept.set_text_content(Some(&words::say(said, &[])));
        show(&kept, offer.kept || own);
        let button = append(&item, "button", "button")?;
        button.set_attribute("type", "button")?;
        let row = Row {
            choice,
            button,
            kept,
        };
        row.mark(false);
        let place = self.rows.borrow().len();
        let own = Rc::clone(self);
        listen(&row.button, "click", move |_: Event| own.choose(place))?;
        self.rows.borrow_mut().push(row);
        Ok(())
    }

    fn choose(&self, place: usize) {
        if self.used.get() == Some(place) {
            return;
        }
        let choice = self.rows.borrow().get(place).map(|row| row.choice.clone());
        if let Some(choice) = choice {
            (self.tell)(News::Chosen(choice));
        }
    }

    fn listen_to_picking(self: &Rc<Self>, input: &HtmlInputElement) -> Result<(), JsValue> {
        let (own, picker) = (Rc::clone(self), input.clone());
        listen(input, "change", move |_: Event| {
            let list = picker.files();
            let files = list.map_or(Vec::new(), |list| {
                (0..list.length()).filter_map(|at| list.get(at)).collect()
            });
            // So that the same one can be chosen again.
            picker.set_value("");
            if !files.is_empty() {
                own.read(local::of_files(files));
            }
        })
    }

    /// What is dropped on this view is a model; elsewhere it is a post.
    fn listen_to_dropping(self: &Rc<Self>) -> Result<(), JsValue> {
        let view: HtmlElement = by_id("view-model")?;
        listen(&view, "dragover", |event: DragEvent| {
            event.prevent_default();
            event.stop_propagation();
        })?;
        let own = Rc::clone(self);
        listen(&view, "drop", move |event: DragEvent| {
            event.prevent_default();
            event.stop_propagation();
            if let Some(data) = event.data_transfer() {
                own.read(local::of_drop(&data));
            }
        })
    }

    /// Reads a bundle of the visitor's, lists it, and has it loaded: to have picked it is to have chosen it.
    fn read(self: &Rc<Self>, local: impl Future<Output = Result<Local, Failure>> + 'static) {
        let own = Rc::clone(self);
        spawn_local(async move {
            match local.await {
                Ok(local) => {
                    let choice = Choice::Own(Rc::new(local));
                    report(own.add(choice.clone()));
                    (own.tell)(News::Chosen(choice));
                }
                Err(failure) => (own.tell)(News::Refused(failure)),
            }
        });
    }
}

impl Row {
    fn mark(&self, used: bool) {
        let (shown, spoken) = if used {
            ("in-use", "in-use-of")
        } else {
            ("load", "load-of")
        };
        let shown = words::say(shown, &[]);
        self.button.set_text_content(Some(&shown));
        let spoken = words::say(spoken, &[&self.choice.offer().name()]);
        report(self.button.set_attribute("aria-label", &spoken));
        // Disabled, it would lose the focus of who pressed it.
        let state = if used { "true" } else { "false" };
        report(self.button.set_attribute("aria-disabled", state));
        let item = self.button.parent_element();
        if let Some(item) = item.and_then(|item| item.dyn_into::<HtmlElement>().ok()) {
            report(
                item.class_list()
                    .toggle_with_force("is-used", used)
                    .map(drop),
            );
        }
    }
}

/// Size, kind of weights, classes and licence in a line.
fn figures(offer: &Offer) -> String {
    let licence = offer.about.licence.trim();
    let name = if licence.is_empty() {
        "offer-unlicensed"
    } else {
        "offer-figures"
    };
    let (size, classes) = (bytes(offer.bytes), offer.classes.to_string());
    words::say(
        name,
        &[&size, &words::dtype(offer.dtype), &classes, licence],
    )
}
