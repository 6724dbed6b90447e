//! Owns the table of the likeliest classes: what the image and the text each say for them, as figures and bars.

use shared::case::{Case, Modality};
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use super::bar::{Axis, Bar};
use crate::protocol::{ClassScore, Prediction};
use crate::ui::dom::{append, by_id, show};
use crate::ui::numbers::{label, percent};
use crate::ui::words;

/// Classes shown; the rest is rarely of interest and would push the page out of sight.
const ROWS: usize = 5;

/// The table. Its rows are made once and filled again, so that bars grow and shrink instead of flickering.
pub struct EvidenceTable {
    rows: Vec<Row>,
    heads: [HtmlElement; 2],
    explanation: HtmlElement,
}

/// One class.
struct Row {
    line: HtmlElement,
    label: HtmlElement,
    probability: Bar,
    sides: [Bar; 2],
}

impl EvidenceTable {
    /// Finds the table in the page and makes its rows.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find() -> Result<Self, JsValue> {
        let body: HtmlElement = by_id("classes")?;
        Ok(Self {
            rows: (0..ROWS)
                .map(|_| Row::append_to(&body))
                .collect::<Result<_, _>>()?,
            heads: [by_id("head-image")?, by_id("head-text")?],
            explanation: by_id("explanation")?,
        })
    }

    /// Fills the rows with a prediction's likeliest classes.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn show(&self, prediction: &Prediction) -> Result<(), JsValue> {
        for (head, modality) in self.heads.iter().zip(Modality::ALL) {
            head.set_text_content(Some(&words::evidence(modality, prediction.evidence)));
            head.class_list()
                .toggle_with_force("is-missing", !prediction.case.has(modality))?;
        }
        self.explanation
            .set_text_content(Some(&words::explanation(prediction.evidence)));
        let shown = &prediction.classes[..prediction.classes.len().min(ROWS)];
        let axis = Axis::of(shown, prediction.evidence);
        for (index, row) in self.rows.iter().enumerate() {
            show(&row.line, index < shown.len());
            if let Some(class) = shown.get(index) {
                row.fill(class, prediction.case, &axis)?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn append_to(body: &HtmlElement) -> Result<Self, JsValue> {
        let line = append(body, "tr", "")?;
        let label = append(&line, "th", "class-label")?;
        label.set_attribute("scope", "row")?;
        Ok(Self {
            probability: Bar::append_to(&line, "td", "is-probability")?,
            sides: [
                Bar::append_to(&line, "td", "is-image")?,
                Bar::append_to(&line, "td", "is-text")?,
            ],
            label,
            line,
        })
    }

    fn fill(&self, class: &ClassScore, case: Case, axis: &Axis) -> Result<(), JsValue> {
        self.label.set_text_content(Some(&label(&class.label)));
        let probability = f64::from(class.probability);
        self.probability
            .fill(&percent(probability), 0.0, probability)?;
        for ((bar, modality), value) in self
            .sides
            .iter()
            .zip(Modality::ALL)
            .zip([class.image, class.text])
        {
            bar.say(value.filter(|_| case.has(modality)), axis)?;
        }
        Ok(())
    }
}
