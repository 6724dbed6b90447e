//! Owns the care with a bundle's tokenizer.json: the library takes some malformed parts for impossible and panics on
//! them, so they are refused or left out before it reads the file.

use std::ops::Range;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Deserializer, Value};

use super::error;
use crate::error::Result;

/// A tokenizer.json that the library can be given. The way back from tokens to text is left out, as nothing needs it.
///
/// # Errors
/// If the file is no JSON object, or has a part that no CLIP has and the library cannot read safely.
pub(super) fn harmless(name: &str, mut json: Vec<u8>) -> Result<Vec<u8>> {
    let malformed = |e: serde_json::Error| error(name, format!("is no tokenizer.json ({e})"));
    let members = members(&json).map_err(malformed)?;
    // From the back, so that places in front stay what they are.
    for (key, place) in members.into_iter().rev() {
        if key == "normalizer" {
            let normalizer = serde_json::from_slice(&json[place.clone()]).map_err(malformed)?;
            if mentions(&normalizer, "Precompiled") {
                let message = "has a precompiled normalizer, which no CLIP has";
                return Err(error(name, message));
            }
        }
        if key == "decoder" {
            json.splice(place, *b"null");
        }
    }
    Ok(json)
}

/// The members of an object and where their values are. The vocabulary is most of the file: to make values of it, only
/// to write them again, would take longer than all else that is done with a small bundle.
fn members(json: &[u8]) -> serde_json::Result<Vec<(String, Range<usize>)>> {
    let mut members = Vec::new();
    let mut at = after(json, 0, b"{")?;
    loop {
        let (key, end) = value::<String>(json, at)?;
        let start = after(json, end, b":")?;
        let (_, end) = value::<IgnoredAny>(json, start)?;
        members.push((key, start..end));
        match after(json, end, b",") {
            Ok(next) => at = next,
            Err(_) => break after(json, end, b"}").map(|_| members),
        }
    }
}

/// The value that starts at `at`, behind white space, and where it ends.
fn value<T: DeserializeOwned>(json: &[u8], at: usize) -> serde_json::Result<(T, usize)> {
    let mut values = Deserializer::from_slice(&json[at..]).into_iter();
    match values.next() {
        Some(value) => Ok((value?, at + values.byte_offset())),
        None => Err(serde::de::Error::custom("it ends too early")),
    }
}

/// The place behind `mark`, which is the next thing behind white space at `at`.
fn after(json: &[u8], at: usize, mark: &[u8; 1]) -> serde_json::Result<usize> {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\n' | b'\r' | b'\t');
    let place = at + json[at..].iter().take_while(blank).count();
    if json.get(place) == Some(&mark[0]) {
        return Ok(place + 1);
    }
    let mark = char::from(mark[0]);
    Err(serde::de::Error::custom(format!(
        "expected `{mark}` at byte {place}"
    )))
}

fn mentions(json: &Value, word: &str) -> bool {
    match json {
        Value::String(text) => text == word,
        Value::Array(items) => items.iter().any(|item| mentions(item, word)),
        Value::Object(fields) => fields.values().any(|item| mentions(item, word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Result<String, String> {
        let json = harmless("tokenizer.json", json.into()).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(json).unwrap())
    }

    #[test]
    fn only_decoders_are_left_out() {
        for (json, left) in [
            (r#"{"decoder": {"a": [1, "}"]}}"#, r#"{"decoder": null}"#),
            (
                r#" {"a":1 , "d\u0065coder":[], "b" : "decoder", "decoder":2}"#,
                r#" {"a":1 , "d\u0065coder": null, "b" : "decoder", "decoder":null}"#,
            ),
            (
                r#"{"model": {"decoder": 1}}"#,
                r#"{"model": {"decoder": 1}}"#,
            ),
        ] {
            let values = [given(json).unwrap(), left.to_string()]
                .map(|json| serde_json::from_str::<Value>(&json).unwrap());
            assert_eq!(values[0], values[1], "{json}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            "{}",
            r#"{"a"}"#,
            r#"{"a": }"#,
            r#"{"a": 1 "b": 2}"#,
            r#"{"a": "#,
            r#"{1: 2}"#,
        ] {
            let said = given(json).unwrap_err();
            assert!(said.contains("is no tokenizer.json"), "{json}: {said}");
        }
        let said = given(r#"{"normalizer": {"n": [{"type": "Precompiled"}]}}"#).unwrap_err();
        assert!(said.contains("precompiled"), "{said}");
    }
}
