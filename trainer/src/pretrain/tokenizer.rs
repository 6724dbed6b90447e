//! Owns the training of the tokenizer: CLIP's byte-level byte-pair encoding, its merges learnt from our own texts.

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use shared::preprocess::text::{END, START};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior, Trainer,
};

/// What marks the end of a word in CLIP's vocabulary.
const END_OF_WORD: &str = "</w>";
/// The two tokens around a text; they have the last two ids, as in CLIP.
const AROUND: [&str; 2] = [START, END];
/// CLIP's words: contractions, letters, single digits, anything else that is no space.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A trained vocabulary in the two files of CLIP's original tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// `vocab.json`: token to id. 256 bytes, 256 bytes that end a word, merges, start, end.
    pub vocab_json: String,
    /// `merges.txt`: a header line, then one merge a line, the earliest first.
    pub merges_txt: String,
}

/// Learns `size` tokens from `texts`. The same texts give the same tokens, in whatever order they come.
///
/// # Errors
/// If `size` has no room for the bytes, or the texts are too few for as many tokens.
pub fn train(texts: &[String], size: usize) -> Result<Vocabulary> {
    let base = base();
    let learnt = size
        .checked_sub(base.len() + AROUND.len())
        .filter(|&count| count > 0);
    let learnt = learnt.ok_or_else(|| {
        anyhow!(
            "a vocabulary of {size} has no room for {} byte tokens",
            base.len()
        )
    })?;
    let merges = merges(texts, &base, size)?;

    let mut tokens = base;
    let mut kept = vec!["#version: 0.2".to_string()];
    let mut known: std::collections::BTreeSet<String> = tokens.iter().cloned().collect();
    for (left, right) in merges {
        if known.len() == tokens.len() && tokens.len() == size - AROUND.len() {
            break;
        }
        let token = format!("{left}{right}");
        kept.push(format!("{left} {right}"));
        // Two merges may spell the same token; it has one id.
        if known.insert(token.clone()) {
            tokens.push(token);
        }
    }
    ensure!(
        tokens.len() == size - AROUND.len(),
        "the texts give {} merged tokens, {learnt} are wanted; choose a smaller vocabulary or more texts",
        tokens.len() + AROUND.len() + learnt - size
    );
    tokens.extend(AROUND.map(String::from));
    // Written by hand in the order of the ids: a map type would sort the tokens by name.
    let entries: Vec<String> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| format!("{}:{id}", Value::from(token.as_str())))
        .collect();
    Ok(Vocabulary {
        vocab_json: format!("{{{}}}", entries.join(",")),
        merges_txt: kept.join("\n") + "\n",
    })
}

/// The 256 bytes as the characters CLIP writes for them, in its order, then the same at the end of a word.
fn base() -> Vec<String> {
    // Printable Latin-1 stands for itself; the other bytes are moved beyond it.
    let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let moved = (0..256u32)
        .filter(|byte| !printable(byte))
        .enumerate()
        .map(|(at, _)| 256 + at as u32);
    let characters: Vec<String> = (0..256u32)
        .filter(printable)
        .chain(moved)
        .filter_map(char::from_u32)
        .map(String::from)
        .collect();
    let ends: Vec<String> = characters
        .iter()
        .map(|character| format!("{character}{END_OF_WORD}"))
        .collect();
    characters.into_iter().chain(ends).collect()
}

/// Pairs in the order in which they are merged.
fn merges(texts: &[String], base: &[String], size: usize) -> Result<Vec<(String, String)>> {
    let failed = |error: tokenizers::Error| anyhow!("the tokenizer cannot be trained: {error}");
    // Named beforehand, the byte tokens have fixed ids, which decide between pairs that are equally frequent.
    let named = base
        .iter()
        .map(|token| AddedToken::from(token.as_str(), false))
        .collect();
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .special_tokens(named)
        .end_of_word_suffix(END_OF_WORD.into())
        .vocab_size(size - AROUND.len())
        .min_frequency(0)
        .build();
    let words = Split::new(
        SplitPattern::Regex(WORDS.into()),
        SplitDelimiterBehavior::Removed,
        true,
    )
    .map_err(failed)?;
    let bytes = ByteLevel::new(false, true, false);
    let split = |text: &str| -> tokenizers::Result<Vec<String>> {
        let mut text = PreTokenizedString::from(text.to_lowercase());
        words.pre_tokenize(&mut text)?;
        bytes.pre_tokenize(&mut text)?;
        let parts = text.get_splits(OffsetReferential::Original, OffsetType::None);
        Ok(parts
            .into_iter()
            .map(|(part, _, _)| part.to_string())
            .collect())
    };
    trainer.feed(texts.iter(), split).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    // The order of the merges is private to the model, but not to its file.
    let file = serde_json::to_value(&model)?;
    let listed = file["merges"]
        .as_array()
        .ok_or_else(|| anyhow!("the trained tokenizer lists no merges"))?;
    listed
        .iter()
        .map(|merge| match (merge[0].as_str(), merge[1].as_str()) {
            (Some(left), Some(right)) => Ok((left.to_string(), right.to_string())),
            _ => Err(anyhow!("{merge} is no merge of two tokens")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let words = [
            "red apple",
            "green apple",
            "Pineapple!",
            "café crème",
            "3 red cars",
            "sitting",
            "sits",
            "日本",
        ];
        words
            .iter()
            .cycle()
            .take(40)
            .map(|text| (*text).to_string())
            .collect()
    }

    #[test]
    fn ids_are_bytes_ends_merges_start_end() {
        let vocabulary = train(&texts(), 540).unwrap();
        let ids: std::collections::BTreeMap<String, u32> =
            serde_json::from_str(&vocabulary.vocab_json).unwrap();
        assert_eq!(ids.len(), 540);
        for (token, id) in [
            ("!", 0),
            ("a", 64),
            ("Ā", 188),
            ("!</w>", 256),
            (AROUND[0], 538),
            (AROUND[1], 539),
        ] {
            assert_eq!(ids[token], id, "{token}");
        }
        let merges: Vec<&str> = vocabulary.merges_txt.lines().skip(1).collect();
        assert!(merges.len() >= 26);
        for merge in merges {
            assert!(ids.contains_key(&merge.replace(' ', "")), "{merge}");
        }
        assert!(ids.contains_key("apple</w>"));
    }

    #[test]
    fn the_same_texts_give_the_same_tokens() {
        let mut reversed = texts();
        reversed.reverse();
        assert_eq!(
            train(&texts(), 540).unwrap(),
            train(&reversed, 540).unwrap()
        );
    }

    #[test]
    fn too_few_texts_or_too_small_a_size_are_told() {
        assert!(
            train(&texts(), 5000)
                .unwrap_err()
                .to_string()
                .contains("smaller vocabulary")
        );
        assert!(
            train(&texts(), 100)
                .unwrap_err()
                .to_string()
                .contains("no room")
        );
    }
}
