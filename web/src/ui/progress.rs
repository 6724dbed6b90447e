//! Owns the loading bar: bytes received of the bundle's exact total.

use wasm_bindgen::JsValue;
use web_sys::{HtmlElement, HtmlProgressElement};

use super::dom::{by_id, show};
use super::words;
use crate::protocol::Summary;

/// The bar, its figures, and the lines that take their place once the model is there.
pub struct Progress {
    panel: HtmlElement,
    bar: HtmlProgressElement,
    figures: HtmlElement,
    state: HtmlElement,
    computing: HtmlElement,
    accuracy: HtmlElement,
}

impl Progress {
    /// Finds the bar in the page.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find() -> Result<Self, JsValue> {
        Ok(Self {
            panel: by_id("loading")?,
            bar: by_id("loading-bar")?,
            figures: by_id("loading-figures")?,
            state: by_id("model-state")?,
            computing: by_id("model-computing")?,
            accuracy: by_id("model-accuracy")?,
        })
    }

    /// Shows the bytes received; a total of 0 is not known yet.
    pub fn show(&self, loaded: u64, total: u64) {
        show(&self.panel, true);
        self.hide_model();
        if total > 0 {
            self.bar.set_max(total as f64);
            self.bar.set_value(loaded as f64);
        } else {
            let _ = self.bar.remove_attribute("value");
        }
        self.figures
            .set_text_content(Some(&words::loading(loaded, total)));
    }

    /// Replaces the bar by what was loaded and what computes.
    pub fn done(&self, summary: &Summary, fell_back: bool) {
        show(&self.panel, false);
        show(&self.state, true);
        self.state.set_text_content(Some(&words::ready(summary)));
        show(&self.computing, true);
        self.computing
            .set_text_content(Some(&words::computing(summary, fell_back)));
        let accuracy = words::accuracy(&summary.about);
        show(&self.accuracy, accuracy.is_some());
        self.accuracy.set_text_content(accuracy.as_deref());
    }

    /// Hides the bar: loading failed, and a notice says why.
    pub fn failed(&self) {
        show(&self.panel, false);
        self.hide_model();
    }

    fn hide_model(&self) {
        for line in [&self.state, &self.computing, &self.accuracy] {
            show(line, false);
        }
    }
}
