//! Owns the fields of a line of JSON.

use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::table::{FIELDS, Fault, Line, Record};

/// Reads a line, by the browser's own reader of JSON.
pub(super) fn record(line: u64, text: Line) -> Record {
    text.and_then(|text| parse(line, text))
        .unwrap_or_else(|fault| Record::faulty(line, fault))
}

fn parse(line: u64, text: &str) -> Result<Record, Fault> {
    let value = JSON::parse(text).map_err(|error| {
        let message = Reflect::get(&error, &"message".into()).unwrap_or_default();
        Fault::Json(message.as_string().unwrap_or_default())
    })?;
    if !value.is_object() || Array::is_array(&value) {
        return Err(Fault::Object);
    }
    let fields: Object = value.unchecked_into();
    let mut record = Record {
        line,
        ..Record::default()
    };
    for (place, name) in FIELDS.into_iter().enumerate() {
        let value = Reflect::get(&fields, &name.into()).unwrap_or_default();
        if value.is_null() || value.is_undefined() {
            continue;
        }
        if name == "labels" {
            if !record.labels.is_empty() {
                return Err(Fault::Labels);
            }
            let labels = value
                .dyn_into::<Array>()
                .map_err(|_| Fault::Kind("labels"))?;
            record.labels = labels
                .iter()
                .map(|label| word(&label).ok_or(Fault::Kind("labels")))
                .collect::<Result<_, _>>()?;
        } else {
            // Numbers are taken where they are names, but a number is no text and no path.
            let named = matches!(name, "id" | "label");
            let words = if named {
                word(&value)
            } else {
                value.as_string()
            };
            record.set(place, &words.ok_or(Fault::Kind(name))?);
        }
    }
    Ok(record)
}

/// A string, or a number as it is written.
fn word(value: &JsValue) -> Option<String> {
    value
        .as_string()
        .or_else(|| value.as_f64().map(|number| number.to_string()))
}
