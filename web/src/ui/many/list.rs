//! Owns the table of a batch: a page of posts at a time, which of them are shown, and turning pages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shared::case::Case;
use wasm_bindgen::JsValue;
use web_sys::{Element, Event, HtmlElement, HtmlSelectElement};

use super::batch::{Answered, Batch, Filter, Outcome, Post, Verdict};
use crate::ui::dom::{append, by_id, listen, show};
use crate::ui::files::name;
use crate::ui::numbers::{label, percent, whole};
use crate::ui::words;

/// Posts on a page.
const PAGE: usize = 50;
/// Letters of a text that are shown; the whole of it is in the downloaded file.
const LETTERS: usize = 120;
/// The page that a button leads to, from the page shown and the last one.
type Lead = fn(usize, usize) -> usize;
/// The buttons that turn pages.
const BUTTONS: [(&str, Lead); 4] = [
    ("many-first", |_, _| 0),
    ("many-previous", |page, _| page.saturating_sub(1)),
    ("many-next", |page, last| (page + 1).min(last)),
    ("many-last", |_, last| last),
];

/// The table.
pub(super) struct List {
    panel: HtmlElement,
    table: HtmlElement,
    caption: HtmlElement,
    rows: HtmlElement,
    filter: HtmlSelectElement,
    pages: HtmlElement,
    buttons: Vec<HtmlElement>,
    page: Cell<usize>,
    last: Cell<usize>,
    /// What stands in the rows: which post, and whether it was waiting then.
    shown: RefCell<Vec<(usize, bool)>>,
}

impl List {
    /// Finds the table in the page; `turned` is called when other posts are to be shown.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub(super) fn find(turned: impl Fn() + 'static) -> Result<Rc<Self>, JsValue> {
        let list = Rc::new(Self {
            panel: by_id("many-list")?,
            table: by_id("many-table")?,
            caption: by_id("many-caption")?,
            rows: by_id("many-rows")?,
            filter: by_id("many-filter")?,
            pages: by_id("many-page")?,
            buttons: BUTTONS
                .iter()
                .map(|(id, _)| by_id(id))
                .collect::<Result<_, _>>()?,
            page: Cell::new(0),
            last: Cell::new(0),
            shown: RefCell::default(),
        });
        let turned = Rc::new(turned);
        for (button, (_, lead)) in list.buttons.iter().zip(BUTTONS) {
            let (this, turned) = (Rc::clone(&list), Rc::clone(&turned));
            listen(button, "click", move |_: Event| {
                this.page.set(lead(this.page.get(), this.last.get()));
                turned();
            })?;
        }
        let this = Rc::clone(&list);
        listen(&list.filter, "change", move |_: Event| {
            this.page.set(0);
            turned();
        })?;
        Ok(list)
    }

    /// Begins with another batch, or with none.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) fn begin(&self, batch: Option<&Batch>) -> Result<(), JsValue> {
        self.page.set(0);
        self.shown.borrow_mut().clear();
        self.rows.set_text_content(None);
        show(&self.panel, batch.is_some());
        let labelled = batch.is_some_and(Batch::is_labelled);
        self.table
            .class_list()
            .toggle_with_force("has-labels", labelled)?;
        self.filter.set_text_content(None);
        self.option("all", &words::say("many-all", &[]))?;
        self.option("failed", &words::say("many-only-failed", &[]))?;
        if labelled {
            self.option("wrong", &words::say("many-only-wrong", &[]))?;
        }
        Ok(())
    }

    /// Offers to show the posts of one class.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) fn offer(&self, classes: &[String]) -> Result<(), JsValue> {
        for (place, class) in classes.iter().enumerate() {
            let words = words::say("many-only-class", &[&label(class)]);
            self.option(&place.to_string(), &words)?;
        }
        Ok(())
    }

    fn option(&self, value: &str, words: &str) -> Result<(), JsValue> {
        let option = append(&self.filter, "option", "")?;
        option.set_attribute("value", value)?;
        option.set_text_content(Some(words));
        Ok(())
    }

    fn filter(&self) -> Filter {
        match self.filter.value().as_str() {
            "failed" => Filter::Failed,
            "wrong" => Filter::Wrong,
            class => class.parse().map_or(Filter::All, Filter::Class),
        }
    }

    /// Shows the page as it is now; rows that have not changed are left alone.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) fn show(&self, batch: &Batch) -> Result<(), JsValue> {
        let places = batch.places(self.filter());
        let last = places.len().saturating_sub(1) / PAGE;
        let page = self.page.get().min(last);
        self.page.set(page);
        self.last.set(last);
        let start = page * PAGE;
        let end = (start + PAGE).min(places.len());
        let wanted: Vec<(usize, bool)> = places[start..end]
            .iter()
            .map(|place| (*place, batch.posts[*place].outcome == Outcome::Waiting))
            .collect();

        let mut shown = self.shown.borrow_mut();
        for (row, now) in wanted.iter().enumerate() {
            if shown.get(row) != Some(now) {
                let old = self.rows.children().item(row as u32);
                self.row(now.0, batch, old.as_ref())?;
            }
        }
        while let Some(extra) = self.rows.children().item(wanted.len() as u32) {
            extra.remove();
        }
        *shown = wanted;

        let [first, to, all] = [(start + 1).min(end), end, places.len()].map(whole);
        set(
            &self.caption,
            &words::say("many-shown", &[&first, &to, &all]),
        );
        let [page_, pages] = [page + 1, last + 1].map(whole);
        set(&self.pages, &words::say("many-page", &[&page_, &pages]));
        for (button, (_, lead)) in self.buttons.iter().zip(BUTTONS) {
            // Not disabled, which would take the focus away from whoever turned to the last page.
            let leads = lead(page, last) != page;
            button.set_attribute("aria-disabled", if leads { "false" } else { "true" })?;
        }
        Ok(())
    }

    /// Makes a post's row, in place of the old one if there is one.
    fn row(&self, place: usize, batch: &Batch, old: Option<&Element>) -> Result<(), JsValue> {
        let post = &batch.posts[place];
        let row = append(&self.rows, "tr", "")?;
        if let Some(old) = old {
            old.replace_with_with_node_1(&row)?;
        }
        cell(&row, "td", "figure", &whole(place + 1))?;
        let head = cell(&row, "th", "many-id", &post.id)?;
        head.set_attribute("scope", "row")?;
        let image = cell(&row, "td", "many-image", name(&post.image))?;
        image.set_title(&post.image);
        cell(&row, "td", "many-text", &cut(&post.text))?;
        match &post.outcome {
            Outcome::Waiting => {
                let words = words::say("many-waits", &[]);
                cell(&row, "td", "many-waits", &words)?.set_attribute("colspan", "3")?;
            }
            Outcome::Failed(sentence) => {
                cell(&row, "td", "many-failure", sentence)?.set_attribute("colspan", "3")?;
            }
            Outcome::Answered(answer) => answered(&row, batch, answer)?,
        }
        labels(&row, post)
    }
}

fn answered(row: &HtmlElement, batch: &Batch, answer: &Answered) -> Result<(), JsValue> {
    let case = match answer.case {
        Case::Complete => words::say("many-case-complete", &[]),
        Case::TextMissing => words::say("many-case-image", &[]),
        Case::ImageMissing => words::say("many-case-text", &[]),
    };
    cell(row, "td", "", &case)?;
    let classes = answer.assigned.iter();
    let classes: Vec<String> = classes
        .filter_map(|class| batch.classes.get(*class))
        .map(|class| label(class))
        .collect();
    let none = || words::say("many-no-class", &[]);
    let classes = (!classes.is_empty()).then(|| classes.join(", "));
    cell(row, "td", "many-answer", &classes.unwrap_or_else(none))?;
    let probability = percent(f64::from(answer.probability));
    cell(row, "td", "figure", &probability)?;
    Ok(())
}

/// The classes that the table gives, and how the answer compares.
fn labels(row: &HtmlElement, post: &Post) -> Result<(), JsValue> {
    let given: Vec<String> = post.labels.iter().map(|class| label(class)).collect();
    let cell = cell(row, "td", "given", &given.join(", "))?;
    let Outcome::Answered(answer) = &post.outcome else {
        return Ok(());
    };
    let (class, verdict) = match answer.verdict {
        Verdict::None => return Ok(()),
        Verdict::Right => ("many-verdict is-right", words::say("many-is-right", &[])),
        Verdict::Wrong => ("many-verdict is-wrong", words::say("many-is-wrong", &[])),
        Verdict::Unknown => ("many-verdict", words::say("many-is-unknown", &[])),
    };
    append(&cell, "span", class)?.set_text_content(Some(&verdict));
    Ok(())
}

fn cell(row: &HtmlElement, tag: &str, class: &str, words: &str) -> Result<HtmlElement, JsValue> {
    let cell = append(row, tag, class)?;
    cell.set_text_content(Some(words));
    Ok(cell)
}

fn set(element: &HtmlElement, words: &str) {
    if element.text_content().as_deref() != Some(words) {
        element.set_text_content(Some(words));
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_letters() {
        assert_eq!(cut("grün"), "grün");
        let long = "ü".repeat(LETTERS + 1);
        assert_eq!(cut(&long), format!("{} …", "ü".repeat(LETTERS)));
    }

    #[test]
    fn buttons_lead_to_pages_that_are_there() {
        let leads = |page, last| BUTTONS.map(|(_, lead)| lead(page, last));
        assert_eq!(leads(0, 0), [0, 0, 0, 0]);
        assert_eq!(leads(1, 3), [0, 0, 2, 3]);
        assert_eq!(leads(3, 3), [0, 2, 3, 3]);
    }
}
