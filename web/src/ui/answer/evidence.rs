//! Owns the table of the likeliest classes: what the image and the text each say for them, as figures and bars.

use shared::case::{Case, Modality};
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use crate::protocol::{ClassScore, Evidence, Prediction};
use crate::ui::dom::{append, by_id, set_variable, show};
use crate::ui::numbers::{label, percent, signed};
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

/// A figure with its bar.
struct Bar {
    cell: HtmlElement,
    figure: HtmlElement,
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
            probability: Bar::append_to(&line, "is-probability")?,
            sides: [
                Bar::append_to(&line, "is-image")?,
                Bar::append_to(&line, "is-text")?,
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
            match value.filter(|_| case.has(modality)) {
                Some(value) => {
                    let (from, to) = axis.span(f64::from(value));
                    bar.fill(&signed(f64::from(value)), from, to)?;
                }
                None => bar.missing()?,
            }
        }
        Ok(())
    }
}

impl Bar {
    fn append_to(line: &HtmlElement, class: &str) -> Result<Self, JsValue> {
        let cell = append(line, "td", class)?;
        let figure = append(&cell, "span", "figure")?;
        let track = append(&cell, "span", "track")?;
        track.set_attribute("aria-hidden", "true")?;
        append(&track, "span", "bar")?;
        Ok(Self { cell, figure })
    }

    /// A bar from one place of its track to another, both 0 to 1.
    fn fill(&self, figure: &str, from: f64, to: f64) -> Result<(), JsValue> {
        self.figure.set_text_content(Some(figure));
        self.cell.class_list().remove_1("is-missing")?;
        set_variable(&self.cell, "--from", from)?;
        set_variable(&self.cell, "--length", to - from)
    }

    fn missing(&self) -> Result<(), JsValue> {
        self.fill(&words::say("missing", &[]), 0.0, 0.0)?;
        self.cell.class_list().add_1("is-missing")
    }
}

/// The one scale of all bars of both modalities, so that their lengths can be compared.
struct Axis {
    least: f64,
    range: f64,
}

impl Axis {
    /// Spans zero and every value shown; cosines always span at least half of what is possible.
    fn of(classes: &[ClassScore], unit: Evidence) -> Self {
        let (mut least, mut most) = match unit {
            Evidence::Cosine => (0.0, 0.5),
            Evidence::Logit => (0.0, 1e-6),
        };
        for value in classes
            .iter()
            .flat_map(|class| [class.image, class.text])
            .flatten()
        {
            least = f64::min(least, value.into());
            most = f64::max(most, value.into());
        }
        Self {
            least,
            range: most - least,
        }
    }

    /// Start and end of a value's bar, which begins at zero.
    fn span(&self, value: f64) -> (f64, f64) {
        let place = |value: f64| ((value - self.least) / self.range).clamp(0.0, 1.0);
        (place(value.min(0.0)), place(value.max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_at_zero() {
        let class = ClassScore {
            label: "a".into(),
            index: 0,
            probability: 1.0,
            logit: 3.0,
            image: Some(-0.5),
            text: Some(0.5),
        };
        let axis = Axis::of(&[class], Evidence::Cosine);
        assert_eq!(axis.span(-0.5), (0.0, 0.5));
        assert_eq!(axis.span(0.5), (0.5, 1.0));
        assert_eq!(axis.span(9.0), (0.5, 1.0));
    }
}
