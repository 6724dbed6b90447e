//! Owns how far a batch is: the bar, the figures beside it, and what screen readers say of it now and then.

use std::cell::Cell;

use wasm_bindgen::JsValue;
use web_sys::{HtmlElement, HtmlProgressElement};

use super::batch::Batch;
use crate::ui::dom::{by_id, now};
use crate::ui::numbers::{duration, whole};
use crate::ui::words;

/// The least time between two announcements of how far it is, in milliseconds.
const QUIET: f64 = 5_000.0;
/// No guess of the time left is made before so much has passed, in milliseconds.
const FIRST_GUESS: f64 = 1_500.0;

/// The bar.
pub(super) struct Progress {
    bar: HtmlProgressElement,
    figures: HtmlElement,
    /// What screen readers announce.
    spoken: HtmlElement,
    /// When this stretch of work began, and how many posts were done then.
    began: Cell<(f64, usize)>,
    /// The last tenth that was announced, and when.
    announced: Cell<(usize, f64)>,
}

impl Progress {
    /// Finds the bar in the page.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub(super) fn find() -> Result<Self, JsValue> {
        Ok(Self {
            bar: by_id("many-bar")?,
            figures: by_id("many-figures")?,
            spoken: by_id("many-status")?,
            began: Cell::default(),
            announced: Cell::default(),
        })
    }

    /// Work begins, or goes on.
    pub(super) fn begin(&self, batch: &Batch) {
        self.began.set((now(), batch.done()));
        let tenth = batch.done() * 10 / batch.posts.len().max(1);
        self.announced.set((tenth, now()));
        self.announce(&words::count("many-begins", batch.posts.len()));
        self.show(batch);
    }

    /// Shows how far it is and how long it will take.
    pub(super) fn show(&self, batch: &Batch) {
        let (done, all) = (batch.done(), batch.posts.len());
        self.bar.set_max(all as f64);
        self.bar.set_value(done as f64);
        let mut figures = words::say("many-done", &[&whole(done), &whole(all)]);
        if batch.failed() > 0 {
            figures += &words::count("many-failed", batch.failed());
        }
        let (began, before) = self.began.get();
        let passed = now() - began;
        if done > before && done < all && passed > FIRST_GUESS {
            let left = passed / (done - before) as f64 * (all - done) as f64;
            figures += &words::say("many-left", &[&duration(left)]);
        }
        self.figures.set_text_content(Some(&figures));

        let (tenth, when) = self.announced.get();
        let reached = done * 10 / all.max(1);
        if reached > tenth && reached < 10 && now() - when > QUIET {
            self.announced.set((reached, now()));
            let share = (reached * 10).to_string();
            self.announce(&words::say("many-share", &[&share]));
        }
    }

    /// Shows a sentence in place of figures; with nothing to measure, the bar only says that it works.
    pub(super) fn say(&self, sentence: &str, measured: bool) {
        if !measured {
            let _ = self.bar.remove_attribute("value");
        }
        self.figures.set_text_content(Some(sentence));
    }

    /// Tells those who cannot see it.
    pub(super) fn announce(&self, sentence: &str) {
        self.spoken.set_text_content(Some(sentence));
    }
}
