//! Owns reading posts from JSON lines that arrive in pieces: cutting them into lines, and a line's fields.

use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::limits::LINE;
use super::record::{FIELDS, Fault, Record};

/// Cuts a file into lines, piece by piece.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// The number of the last whole line.
    line: u64,
}

/// A line without its end, or its fault.
type Line<'a> = Result<&'a str, Fault>;

impl Lines {
    /// Calls `take` with every line that ends in this piece and is not blank.
    pub(super) fn feed(&mut self, piece: &[u8], mut take: impl FnMut(u64, Line)) {
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            // One byte more than may be is enough to know that the line is too long.
            let room = (LINE + 1).saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                self.end(&mut take);
            }
        }
    }

    /// Calls `take` with what was left without a line end.
    pub(super) fn end(&mut self, mut take: impl FnMut(u64, Line)) {
        self.line += 1;
        let line = std::mem::take(&mut self.begun);
        if line.len() > LINE {
            take(self.line, Err(Fault::Long));
            return;
        }
        match std::str::from_utf8(&line) {
            Ok(text) => {
                let text = text.trim_start_matches('\u{feff}').trim();
                if !text.is_empty() {
                    take(self.line, Ok(text));
                }
            }
            Err(_) => take(self.line, Err(Fault::Encoding(""))),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &[u8], piece: usize) -> Vec<(u64, Result<String, Fault>)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut take = |line: u64, text: Line| found.push((line, text.map(str::to_owned)));
        for piece in file.chunks(piece) {
            lines.feed(piece, &mut take);
        }
        lines.end(&mut take);
        found
    }

    #[test]
    fn lines_are_the_same_however_the_file_is_cut() {
        let file = "\u{feff}{\"a\": 1}\r\n\n  {\"grün\": 2}\nlast".as_bytes();
        for piece in [1, 2, 5, 100] {
            assert_eq!(
                lines(file, piece),
                [
                    (1, Ok("{\"a\": 1}".into())),
                    (3, Ok("{\"grün\": 2}".into())),
                    (4, Ok("last".into())),
                ]
            );
        }
        assert_eq!(lines(b"", 1), []);
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_is_read() {
        let long = format!("{}\nb", "a".repeat(2 * LINE));
        assert_eq!(
            lines(long.as_bytes(), 1000),
            [(1, Err(Fault::Long)), (2, Ok("b".into()))]
        );
        assert_eq!(
            lines(b"\xff\nb", 1000),
            [(1, Err(Fault::Encoding(""))), (2, Ok("b".into()))]
        );
    }
}
