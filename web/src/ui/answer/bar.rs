//! Owns bars: a figure and its length beside others, on one scale for both sides of a post.

use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use crate::protocol::{ClassScore, Evidence};
use crate::ui::dom::{append, set_variable};
use crate::ui::numbers::signed;
use crate::ui::words;

/// A figure with its bar.
pub(super) struct Bar {
    cell: HtmlElement,
    figure: HtmlElement,
}

impl Bar {
    /// Makes an element with this tag and class, and a bar in it.
    pub(super) fn append_to(line: &HtmlElement, tag: &str, class: &str) -> Result<Self, JsValue> {
        let cell = append(line, tag, class)?;
        let figure = append(&cell, "span", "figure")?;
        let track = append(&cell, "span", "track")?;
        track.set_attribute("aria-hidden", "true")?;
        append(&track, "span", "bar")?;
        Ok(Self { cell, figure })
    }

    /// A bar from one place of its track to another, both 0 to 1.
    pub(super) fn fill(&self, figure: &str, from: f64, to: f64) -> Result<(), JsValue> {
        self.figure.set_text_content(Some(figure));
        self.cell.class_list().remove_1("is-missing")?;
        set_variable(&self.cell, "--from", from)?;
        set_variable(&self.cell, "--length", to - from)
    }

    /// What a side says for a class, if the side is there.
    pub(super) fn say(&self, value: Option<f32>, axis: &Axis) -> Result<(), JsValue> {
        let Some(value) = value.map(f64::from) else {
            return self.missing();
        };
        let (from, to) = axis.span(value);
        self.fill(&signed(value), from, to)
    }

    /// The side is missing.
    fn missing(&self) -> Result<(), JsValue> {
        self.fill(&words::say("missing", &[]), 0.0, 0.0)?;
        self.cell.class_list().add_1("is-missing")
    }
}

/// The one scale of all bars of both modalities, so that their lengths can be compared.
pub(super) struct Axis {
    least: f64,
    range: f64,
}

impl Axis {
    /// Spans zero and every value shown; cosines always span at least half of what is possible.
    pub(super) fn of(classes: &[ClassScore], unit: Evidence) -> Self {
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
    pub(super) fn span(&self, value: f64) -> (f64, f64) {
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
