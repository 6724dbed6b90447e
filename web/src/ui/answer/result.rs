//! Owns the result: the class, its probability, the case that was used, the evidence, and the time it took.

use shared::case::Modality;
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use super::evidence::EvidenceTable;
use crate::protocol::Prediction;
use crate::ui::dom::{by_id, set_variable, show, window};
use crate::ui::numbers::{label, percent};
use crate::ui::words;

/// The result's panel.
pub struct ResultPanel {
    panel: HtmlElement,
    empty: HtmlElement,
    body: HtmlElement,
    case: HtmlElement,
    label: HtmlElement,
    probability: HtmlElement,
    /// Says that the model is not sure, and what that means.
    unsure: HtmlElement,
    time: HtmlElement,
    /// What screen readers announce.
    spoken: HtmlElement,
    table: EvidenceTable,
}

impl ResultPanel {
    /// Finds the panel in the page.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find() -> Result<Self, JsValue> {
        Ok(Self {
            panel: by_id("result")?,
            empty: by_id("result-empty")?,
            body: by_id("result-body")?,
            case: by_id("case")?,
            label: by_id("label")?,
            probability: by_id("probability")?,
            unsure: by_id("unsure")?,
            time: by_id("time")?,
            spoken: by_id("status")?,
            table: EvidenceTable::find()?,
        })
    }

    /// Shows a sentence instead of a result.
    pub fn say(&self, sentence: &str) {
        show(&self.body, false);
        show(&self.empty, true);
        self.empty.set_text_content(Some(sentence));
        self.spoken.set_text_content(None);
        self.busy(false);
    }

    /// Brings the panel into view if it lies below the window, as on a telephone.
    ///
    /// # Errors
    /// If there is no window.
    pub fn reveal(&self) -> Result<(), JsValue> {
        let height = window()?.inner_height()?.as_f64().unwrap_or_default();
        if self.panel.get_bounding_client_rect().top() > height * 0.8 {
            self.panel.scroll_into_view();
        }
        Ok(())
    }

    /// Marks the result shown as about to change.
    pub fn busy(&self, busy: bool) {
        let _ = self
            .panel
            .set_attribute("aria-busy", if busy { "true" } else { "false" });
    }

    /// Shows a prediction.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn show(&self, prediction: &Prediction, time: &str) -> Result<(), JsValue> {
        let probability = f64::from(prediction.probability);
        self.case
            .set_text_content(Some(&words::case(prediction.case)));
        for (class, modality) in [("has-image", Modality::Image), ("has-text", Modality::Text)] {
            self.panel
                .class_list()
                .toggle_with_force(class, prediction.case.has(modality))?;
        }
        let name = label(&prediction.label);
        let unsure = prediction.sure == Some(false);
        let said = if unsure {
            words::say("perhaps", &[&name])
        } else {
            name
        };
        self.label.set_text_content(Some(&said));
        show(&self.unsure, unsure);
        self.probability
            .set_text_content(Some(&percent(probability)));
        set_variable(&self.body, "--probability", probability)?;
        self.time.set_text_content(Some(time));
        self.table.show(prediction)?;
        show(&self.empty, false);
        show(&self.body, true);
        self.busy(false);
        let spoken = words::spoken(prediction);
        if self.spoken.text_content().as_deref() != Some(&spoken) {
            self.spoken.set_text_content(Some(&spoken));
        }
        Ok(())
    }
}
