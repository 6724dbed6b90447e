//! Owns what a batch comes to, as sentences: posts by case, failures, the most frequent classes, accuracy.

use shared::case::Case;
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use super::batch::{Batch, Tally};
use crate::ui::dom::{by_id, show};
use crate::ui::numbers::{label, whole};
use crate::ui::words;

/// So many classes are named.
const NAMED: usize = 6;

/// The sentences.
pub(super) struct Summary {
    panel: HtmlElement,
    cases: HtmlElement,
    classes: HtmlElement,
    accuracy: HtmlElement,
}

impl Summary {
    /// Finds the places of the sentences in the page.
    ///
    /// # Errors
    /// If index.html lacks them.
    pub(super) fn find() -> Result<Self, JsValue> {
        Ok(Self {
            panel: by_id("many-summary")?,
            cases: by_id("many-cases")?,
            classes: by_id("many-classes")?,
            accuracy: by_id("many-accuracy")?,
        })
    }

    /// Shows what the batch has come to so far, and returns what is to be announced of it.
    pub(super) fn show(&self, batch: &Batch) -> String {
        let tally = batch.tally();
        let lines = [
            (&self.cases, Some(cases(batch, &tally))),
            (&self.classes, classes(batch, &tally)),
            (&self.accuracy, accuracy(&tally)),
        ];
        let mut spoken = String::new();
        for (place, line) in lines {
            show(place, line.is_some());
            place.set_text_content(line.as_deref());
            spoken += &(line.unwrap_or_default() + " ");
        }
        show(&self.panel, true);
        spoken
    }

    /// Takes the sentences away.
    pub(super) fn hide(&self) {
        show(&self.panel, false);
    }
}

fn cases(batch: &Batch, tally: &Tally) -> String {
    let names = ["many-complete", "many-image-only", "many-text-only"];
    let parts: Vec<String> = Case::ALL
        .into_iter()
        .filter(|case| tally.cases[case.index()] > 0)
        .map(|case| words::say(names[case.index()], &[&whole(tally.cases[case.index()])]))
        .collect();
    let answered = tally.cases.iter().sum();
    let mut sentence = words::count("many-classified", answered);
    if !parts.is_empty() {
        sentence = words::say("many-of-these", &[&sentence, &parts.join(", ")]);
    }
    if batch.failed() > 0 {
        sentence += &words::count("many-failures", batch.failed());
    }
    let left = batch.posts.len() - batch.done();
    if left > 0 {
        sentence += &words::count("many-waiting", left);
    }
    sentence
}

fn classes(batch: &Batch, tally: &Tally) -> Option<String> {
    let named = tally
        .classes
        .iter()
        .take(NAMED)
        .filter_map(|(class, count)| {
            let name = batch.classes.get(*class)?;
            Some(words::say("many-class", &[&label(name), &whole(*count)]))
        });
    let named: Vec<String> = named.collect();
    let others = tally.classes.len().saturating_sub(NAMED);
    match (named.is_empty(), others) {
        (true, _) => None,
        (false, 0) => Some(words::say("many-classes", &[&named.join(", ")])),
        (false, others) => {
            let others = words::count("many-others", others);
            Some(words::say("many-classes", &[&(named.join(", ") + &others)]))
        }
    }
}

fn accuracy(tally: &Tally) -> Option<String> {
    let judged: usize = tally.judged.iter().sum();
    let mut sentence = String::new();
    if judged > 0 {
        let right: usize = tally.right.iter().sum();
        let names = ["accuracy-complete", "accuracy-image", "accuracy-text"];
        let parts: Vec<String> = Case::ALL
            .into_iter()
            .map(Case::index)
            .filter(|case| tally.judged[*case] > 0)
            .map(|case| {
                let share = share(tally.right[case], tally.judged[case]);
                words::say(names[case], &[&share])
            })
            .collect();
        sentence += &words::say(
            "many-right",
            &[
                &whole(right),
                &whole(judged),
                &share(right, judged),
                &parts.join(", "),
            ],
        );
    }
    if tally.unknown > 0 {
        sentence += &words::count("many-unknown", tally.unknown);
    }
    (!sentence.is_empty()).then_some(sentence)
}

fn share(part: usize, of: usize) -> String {
    format!("{:.0} %", part as f64 / of as f64 * 100.0)
}
