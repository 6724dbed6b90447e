//! Owns the comparison of cases: the same post complete, with the image only, and with the text only, side by side.

use shared::case::{Case, Modality};
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use super::bar::{Axis, Bar};
use crate::protocol::{ClassScore, Prediction};
use crate::ui::dom::{append, by_id, show};
use crate::ui::numbers::{label, percent};
use crate::ui::words;

/// Classes shown of each case.
const ROWS: usize = 3;

/// The predictions of a post by case code; absent as long as they are not there.
pub type ByCase = [Option<Prediction>; 3];

/// The comparison.
pub struct Compare {
    panel: HtmlElement,
    columns: Vec<Column>,
}

/// One case.
struct Column {
    case: Case,
    label: HtmlElement,
    rows: Vec<Row>,
    chosen: HtmlElement,
    sides: [Bar; 2],
}

/// One class of a case.
struct Row {
    line: HtmlElement,
    label: HtmlElement,
    bar: Bar,
}

impl Compare {
    /// Finds the comparison in the page and makes its columns.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub fn find() -> Result<Self, JsValue> {
        let place: HtmlElement = by_id("compare-cases")?;
        let columns = Case::ALL.map(|case| Column::append_to(&place, case));
        Ok(Self {
            panel: by_id("compare")?,
            columns: columns.into_iter().collect::<Result<_, _>>()?,
        })
    }

    /// Hides it: there is nothing to compare.
    pub fn hide(&self) {
        show(&self.panel, false);
    }

    /// Shows the predictions, and what the sides say in each for the class at place `chosen`.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn show(&self, predictions: &ByCase, chosen: usize) -> Result<(), JsValue> {
        let of_chosen = |prediction: &Prediction| -> Option<ClassScore> {
            let mut classes = prediction.classes.iter();
            classes.find(|class| class.index == chosen).cloned()
        };
        let all: Vec<ClassScore> = predictions.iter().flatten().filter_map(of_chosen).collect();
        let Some(unit) = predictions.iter().flatten().next().map(|of| of.evidence) else {
            return Ok(());
        };
        let axis = Axis::of(&all, unit);
        for (column, prediction) in self.columns.iter().zip(predictions) {
            if let Some(prediction) = prediction {
                column.show(prediction, of_chosen(prediction).as_ref(), &axis)?;
            }
        }
        show(&self.panel, true);
        Ok(())
    }
}

impl Column {
    fn append_to(place: &HtmlElement, case: Case) -> Result<Self, JsValue> {
        let column = append(place, "article", "case-column")?;
        for (class, modality) in [("has-image", Modality::Image), ("has-text", Modality::Text)] {
            column
                .class_list()
                .toggle_with_force(class, case.has(modality))?;
        }
        let head = append(&column, "h3", "case")?;
        let mark = append(&head, "span", "case-mark")?;
        mark.set_attribute("aria-hidden", "true")?;
        append(&mark, "span", "")?;
        append(&mark, "span", "")?;
        append(&head, "span", "")?.set_text_content(Some(&words::case_short(case)));
        let verdict = append(&column, "p", "column-label")?;
        let list = append(&column, "ol", "column-classes")?;
        let rows = (0..ROWS).map(|_| Row::append_to(&list));
        let rows = rows.collect::<Result<_, _>>()?;
        let chosen = append(&column, "h4", "column-chosen")?;
        let pair = append(&column, "dl", "column-sides")?;
        let mut sides = Vec::new();
        for (modality, class) in Modality::ALL.into_iter().zip(["is-image", "is-text"]) {
            let line = append(&pair, "div", class)?;
            append(&line, "dt", "")?.set_text_content(Some(&words::modality(modality)));
            sides.push(Bar::append_to(&line, "dd", "side-bar")?);
        }
        let sides = sides
            .try_into()
            .map_err(|_| JsValue::from_str("a post has two sides"))?;
        Ok(Self {
            case,
            label: verdict,
            rows,
            chosen,
            sides,
        })
    }

    fn show(
        &self,
        prediction: &Prediction,
        chosen: Option<&ClassScore>,
        axis: &Axis,
    ) -> Result<(), JsValue> {
        self.label.set_text_content(Some(&label(&prediction.label)));
        for (place, row) in self.rows.iter().enumerate() {
            let class = prediction.classes.get(place);
            show(&row.line, class.is_some());
            if let Some(class) = class {
                row.label.set_text_content(Some(&label(&class.label)));
                let probability = f64::from(class.probability);
                row.bar.fill(&percent(probability), 0.0, probability)?;
            }
        }
        let Some(chosen) = chosen else {
            return Ok(());
        };
        let name = label(&chosen.label);
        let probability = percent(f64::from(chosen.probability));
        self.chosen
            .set_text_content(Some(&words::say("said-for", &[&name, &probability])));
        let values = [chosen.image, chosen.text];
        for ((bar, modality), value) in self.sides.iter().zip(Modality::ALL).zip(values) {
            bar.say(value.filter(|_| self.case.has(modality)), axis)?;
        }
        Ok(())
    }
}

impl Row {
    fn append_to(list: &HtmlElement) -> Result<Self, JsValue> {
        let line = append(list, "li", "")?;
        Ok(Self {
            label: append(&line, "span", "class-label")?,
            bar: Bar::append_to(&line, "span", "is-probability")?,
            line,
        })
    }
}
