//! Owns the answers as a CSV file: what stands in it, how it is quoted, and handing it to the browser in parts.

use std::fmt::Write;

use js_sys::Array;
use shared::case::Case;
use wasm_bindgen::JsValue;

use super::batch::{Batch, Outcome, Post};
use crate::promise::pause;
use crate::table::BETWEEN;
use crate::ui::dom;

/// The file's name.
const NAME: &str = "lacuna.csv";
/// So many posts are written before the page gets its turn.
const STRETCH: usize = 500;
/// Spreadsheets take a field that begins like this for a formula, which may do anything.
const FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The columns before those of the classes.
const COLUMNS: [&str; 7] = [
    "id",
    "image",
    "text",
    "case",
    "class",
    "probability",
    "failure",
];

/// Gives the visitor the posts and what became of them; with `every`, also a column for every class.
///
/// # Errors
/// If the browser refuses.
pub(super) async fn save(batch: &std::cell::RefCell<Batch>, every: bool) -> Result<(), JsValue> {
    let parts = Array::new();
    let mut place = 0;
    loop {
        // The batch may grow answers while the page has its turn, so it is borrowed for a stretch only.
        let part = {
            let batch = batch.borrow();
            let mut part = String::new();
            if place == 0 {
                header(&mut part, &batch, every);
            }
            let end = (place + STRETCH).min(batch.posts.len());
            for post in batch.posts.get(place..end).unwrap_or_default() {
                line(&mut part, &batch, post, every);
            }
            place = end;
            (part, end == batch.posts.len())
        };
        parts.push(&part.0.into());
        if part.1 {
            break;
        }
        pause(0).await;
    }
    dom::save(NAME, "text/csv;charset=utf-8", &parts).await
}

/// The first line. The mark before it tells spreadsheets that the file is UTF-8.
fn header(out: &mut String, batch: &Batch, every: bool) {
    out.push('\u{feff}');
    for (place, name) in COLUMNS.into_iter().enumerate() {
        field(out, name, place == 0);
    }
    if every {
        for class in &batch.classes {
            field(out, class, false);
        }
    }
    out.push_str("\r\n");
}

/// A post's line.
fn line(out: &mut String, batch: &Batch, post: &Post, every: bool) {
    field(out, &post.id, true);
    field(out, &post.image, false);
    field(out, &post.text, false);
    let mut probabilities = &[][..];
    match &post.outcome {
        Outcome::Answered(answer) => {
            field(out, case(answer.case), false);
            field(out, &classes(batch, &answer.assigned), false);
            let _ = write!(out, ",{:.6},", answer.probability);
            probabilities = &answer.probabilities;
        }
        Outcome::Failed(sentence) => {
            out.push_str(",,,");
            field(out, sentence, false);
        }
        Outcome::Waiting => out.push_str(",,,,"),
    }
    if every {
        for class in 0..batch.classes.len() {
            out.push(',');
            if let Some(probability) = probabilities.get(class) {
                let _ = write!(out, "{probability:.6}");
            }
        }
    }
    out.push_str("\r\n");
}

/// A case as files name it.
fn case(case: Case) -> &'static str {
    match case {
        Case::Complete => "complete",
        Case::TextMissing => "text_missing",
        Case::ImageMissing => "image_missing",
    }
}

fn classes(batch: &Batch, assigned: &[usize]) -> String {
    let mut names = String::new();
    for name in assigned
        .iter()
        .filter_map(|class| batch.classes.get(*class))
    {
        if !names.is_empty() {
            names.push(BETWEEN);
        }
        names.push_str(name);
    }
    names
}

/// Writes a field, quoted where it has to be, and with a quote mark before what a spreadsheet would compute.
fn field(out: &mut String, value: &str, first: bool) {
    if !first {
        out.push(',');
    }
    let formula = value.starts_with(FORMULAS);
    let quoted = value.contains(['"', ',', ';', '\t', '\n', '\r']);
    if quoted {
        out.push('"');
    }
    if formula {
        out.push('\'');
    }
    if quoted {
        out.push_str(&value.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::{post, prediction};
    use super::*;

    fn written(value: &str) -> String {
        let mut out = String::new();
        field(&mut out, value, true);
        out
    }

    #[test]
    fn fields_are_quoted_and_no_formula_gets_through() {
        assert_eq!(written("red apple"), "red apple");
        assert_eq!(written("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
        assert_eq!(written("=1+1"), "'=1+1");
        assert_eq!(written("@SUM(A1,A2)"), "\"'@SUM(A1,A2)\"");
        assert_eq!(written("-2"), "'-2");
        assert_eq!(written("\tx"), "\"'\tx\"");
        assert_eq!(written("a=b"), "a=b");
    }

    #[test]
    fn a_line_has_what_became_of_the_post() {
        let mut batch = Batch::new(vec![
            post("1", "x, y", &[]),
            post("2", "z", &[]),
            post("3", "", &[]),
        ]);
        batch.classes = vec!["a".into(), "=b".into()];
        let mut answer = prediction(&["a", "=b"], Case::ImageMissing);
        answer.classes[0].label = "=b".into();
        batch.answer(0, &answer);
        batch.fail(2, "Neither an image nor a text.".into());
        let mut out = String::new();
        header(&mut out, &batch, true);
        for post in &batch.posts {
            line(&mut out, &batch, post, true);
        }
        assert_eq!(
            out,
            "\u{feff}id,image,text,case,class,probability,failure,a,'=b\r\n\
             1,,\"x, y\",image_missing,\"a;=b\",0.750000,,0.250000,0.750000\r\n\
             2,,z,,,,,,\r\n\
             3,,,,,,Neither an image nor a text.,,\r\n"
        );
    }
}
