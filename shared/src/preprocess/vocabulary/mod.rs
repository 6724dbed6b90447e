//! Owns the reading of a tokenizer.json that anybody may have written: its vocabulary and merges within limits, and of
//! the pipeline around them only what a CLIP has.
//!
//! The library panics on merges that do not belong to their vocabulary and on malformed decoders, and its regular
//! expressions and replacements can be made to take all time and memory there is. So it is given no file: it gets a
//! vocabulary that was checked, and a pipeline whose every part is known.

mod file;

pub(super) use file::Ids;
use file::{File, Merges, Model};

use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::text::{END, START, WORDS, assemble};
use crate::error::{Error, Result};
use crate::limits::{TOKENIZER_BYTES, VOCABULARY};

const FILE: &str = "tokenizer.json";

/// CLIP's words as the library's own conversion of OpenAI's files writes them; the frame tokens are found before.
const USUAL_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// The one expression whose matches are replaced: by a space.
const SPACES: &str = r"\s+";

/// A tokenizer of a tokenizer.json.
///
/// # Errors
/// If it is none, is beyond the limits, or has a part that no CLIP has.
pub(super) fn read(json: &[u8]) -> Result<Tokenizer> {
    within(FILE, json)?;
    let file: File = serde_json::from_slice(json).map_err(|e| problem(FILE, &e.to_string()))?;
    let kind = file.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(foreign("model", kind));
    }
    let mut tokenizer = assemble(bpe(FILE, file.model)?)?;
    let failed = |e: tokenizers::Error| problem(FILE, &e.to_string());
    let normalizer = file.normalizer.map(|value| {
        check(&value, "normalizers", &normalizes)?;
        serde_json::from_value::<NormalizerWrapper>(value)
            .map_err(|e| problem(FILE, &format!("its normalizer: {e}")))
    });
    tokenizer
        .with_normalizer(normalizer.transpose()?)
        .map_err(failed)?;
    let words = file.pre_tokenizer.map(|value| {
        check(&value, "pretokenizers", &splits)?;
        serde_json::from_value::<PreTokenizerWrapper>(value)
            .map_err(|e| problem(FILE, &format!("its pre_tokenizer: {e}")))
    });
    tokenizer.with_pre_tokenizer(words.transpose()?);
    let added = file.added_tokens.0.into_iter();
    let others: Vec<_> = added
        .filter(|token| token.content != START && token.content != END)
        .collect();
    tokenizer.add_tokens(others).map_err(failed)?;
    Ok(tokenizer)
}

/// A byte-pair model of CLIP's two files.
///
/// # Errors
/// As [`read`].
pub(super) fn of_parts(ids: Ids, merges: Vec<(String, String)>) -> Result<BPE> {
    let model = Model {
        kind: None,
        vocab: ids,
        merges: Merges(merges),
        unk_token: Some(END.into()),
        continuing_subword_prefix: Some(String::new()),
        end_of_word_suffix: Some("</w>".into()),
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
    };
    bpe("vocab.json and merges.txt", model)
}

/// Refuses a file that is too large to be looked at.
///
/// # Errors
/// If it is.
pub(super) fn within(file: &str, content: &[u8]) -> Result<()> {
    if content.len() <= TOKENIZER_BYTES {
        return Ok(());
    }
    let size = content.len();
    Err(problem(
        file,
        &format!("has {size} bytes; at most {TOKENIZER_BYTES} are read"),
    ))
}

/// Builds the model, once its merges are known to be of its vocabulary.
fn bpe(file: &str, model: Model) -> Result<BPE> {
    let Ids(ids) = model.vocab;
    if model
        .continuing_subword_prefix
        .is_some_and(|it| !it.is_empty())
    {
        return Err(foreign("continuing_subword_prefix", "of its own"));
    }
    if model.merges.0.len() > VOCABULARY {
        let message = format!("has more than {VOCABULARY} merges, the most that are read");
        return Err(problem(file, &message));
    }
    if let Some((token, id)) = ids.iter().find(|(_, id)| **id as usize >= VOCABULARY) {
        let message =
            format!("the token {token:?} has the id {id}; ids below {VOCABULARY} are read");
        return Err(problem(file, &message));
    }
    let mut named = vec![false; ids.values().max().map_or(0, |id| *id as usize + 1)];
    for (token, id) in &ids {
        if std::mem::replace(&mut named[*id as usize], true) {
            let message = format!("the token {token:?} has the id {id}, which another has too");
            return Err(problem(file, &message));
        }
    }
    let mut joined = String::new();
    for (left, right) in &model.merges.0 {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        if let Some(absent) = [left, right, &joined]
            .into_iter()
            .find(|token| !ids.contains_key(*token))
        {
            let message = format!(
                "merges {left:?} and {right:?}, but the vocabulary has no {absent:?}; the files do not belong together"
            );
            return Err(problem(file, &message));
        }
    }
    let mut builder = BPE::builder()
        .vocab_and_merges(ids, model.merges.0)
        .continuing_subword_prefix(String::new())
        .fuse_unk(model.fuse_unk)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(model.ignore_merges);
    if let Some(token) = model.unk_token {
        builder = builder.unk_token(token);
    }
    if let Some(suffix) = model.end_of_word_suffix {
        builder = builder.end_of_word_suffix(suffix);
    }
    builder.build().map_err(|e| problem(file, &e.to_string()))
}

/// Holds a part of the pipeline, and the parts that it is a sequence of, against those that are known.
fn check(part: &Value, members: &str, known: &dyn Fn(&str, &Value) -> bool) -> Result<()> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let inner = part.get(members).and_then(Value::as_array);
    match (kind, inner) {
        ("Sequence", Some(parts)) => parts.iter().try_for_each(|part| {
            if part.get(members).is_some() {
                return Err(foreign(members, "sequence within a sequence"));
            }
            check(part, members, known)
        }),
        _ if known(kind, part) => Ok(()),
        _ => Err(foreign(members, kind)),
    }
}

/// Whether a CLIP normalises like this.
fn normalizes(kind: &str, part: &Value) -> bool {
    let spaces = || pattern(part) == Some(SPACES) && part.get("content") == Some(&" ".into());
    matches!(kind, "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase") || (kind == "Replace" && spaces())
}

/// Whether a CLIP finds words like this.
fn splits(kind: &str, part: &Value) -> bool {
    match kind {
        "Split" => matches!(pattern(part), Some(WORDS | USUAL_WORDS)),
        _ => matches!(kind, "ByteLevel" | "Whitespace" | "WhitespaceSplit"),
    }
}

fn pattern(part: &Value) -> Option<&str> {
    part.get("pattern")?.get("Regex")?.as_str()
}

fn foreign(what: &str, kind: &str) -> Error {
    problem(
        FILE,
        &format!("has the {what} {kind:?}, which no CLIP has; give the tokenizer of a CLIP"),
    )
}

/// What is wrong with a file of tokens.
pub(super) fn problem(file: &str, message: &str) -> Error {
    Error::Tokenizer(format!("{file}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ADDED_TOKEN_BYTES, ADDED_TOKENS};

    const TOKENS: &str = r#""<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "b": 3"#;

    fn said(json: &str) -> String {
        read(json.as_bytes()).unwrap_err().to_string()
    }

    fn with(part: &str) -> String {
        format!(r#"{{"model": {{"vocab": {{{TOKENS}}}, "merges": []}}, {part}}}"#)
    }

    /// The library slices beyond the longest token and panics.
    #[test]
    fn merges_of_another_vocabulary_are_refused() {
        let long = "0123456789";
        let json = format!(
            r#"{{"model": {{"vocab": {{{TOKENS}, "{long}": 4}}, "merges": [["{long}", "{long}"]]}}}}"#
        );
        let said = said(&json);
        assert!(said.contains("do not belong together"), "{said}");
    }

    /// The library keeps one of them, and what it then writes is no CLIP's tokenizer any more.
    #[test]
    fn two_tokens_with_one_id_are_refused() {
        let json = with(r#""version": "1.0""#).replace("\"b\": 3", "\"b\": 0");
        assert!(said(&json).contains("which another has too"));
    }

    /// The library takes a prefix of bytes off tokens, in the middle of letters too, and calls the rest UTF-8.
    #[test]
    fn prefixes_are_refused() {
        let json = format!(
            r#"{{"model": {{"continuing_subword_prefix": "x", "vocab": {{{TOKENS}}}, "merges": []}}}}"#
        );
        assert!(said(&json).contains("which no CLIP has"));
    }

    /// A pattern can take a minute for a short text, and a replacement can make gigabytes of it.
    #[test]
    fn only_the_pipeline_of_a_clip_is_taken() {
        for part in [
            r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#,
            r#""normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": " "}"#,
            r#""normalizer": {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "  "}"#,
            r#""normalizer": {"type": "Prepend", "prepend": "a"}"#,
            r#""normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}"#,
            r#""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a|a)*b"}, "behavior": "Removed", "invert": true}"#,
        ] {
            let said = said(&with(part));
            assert!(said.contains("which no CLIP has"), "{part}: {said}");
        }
        // The way back to text is not read: the library panics on some malformed ones.
        for part in [
            r#""decoder": {"type": "CTC"}"#,
            r#""normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Whitespace"}"#,
            r#""normalizer": null, "padding": {"anything": 1}"#,
        ] {
            assert!(read(with(part).as_bytes()).is_ok(), "{part}");
        }
    }

    #[test]
    fn what_is_beyond_the_limits_is_refused() {
        let id = with(r#""version": "1.0""#).replace("\"b\": 3", "\"b\": 4294967295");
        assert!(said(&id).contains("has the id 4294967295"));
        let token = |content: &str| {
            format!(
                r#"{{"content": "{content}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}}"#
            )
        };
        let tokens: Vec<_> = (0..=ADDED_TOKENS)
            .map(|i| token(&format!("t{i}")))
            .collect();
        let many = with(&format!(r#""added_tokens": [{}]"#, tokens.join(", ")));
        assert!(said(&many).contains("more than 256 added tokens"));
        for content in ["", &"x".repeat(ADDED_TOKEN_BYTES + 1)] {
            let json = with(&format!(r#""added_tokens": [{}]"#, token(content)));
            assert!(said(&json).contains("1 to 1024 bytes"));
        }
        let large = vec![b' '; TOKENIZER_BYTES + 1];
        let said = read(&large).unwrap_err().to_string();
        assert!(said.contains("bytes; at most"), "{said}");
    }
}
