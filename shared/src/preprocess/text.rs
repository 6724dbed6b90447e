//! Owns the way from a text to the tokens the text tower takes: CLIP's cleaning, its byte-pair encoding, its frame of
//! start and end token.

use candle_core::{Device, Tensor};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::clean;
use super::vocabulary::{self, problem};
use crate::clip::Tokens;
use crate::error::{Error, Result};
use crate::limits::{CHARACTERS_PER_TOKEN, TEXT_BYTES};

/// The token in front of every text.
pub const START: &str = "<|startoftext|>";
/// The token after every text; its output is the text's feature.
pub const END: &str = "<|endoftext|>";

/// CLIP's words: the frame tokens, contractions, runs of letters, single digits, runs of other non-space.
pub(super) const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// One text as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Start token, the text, end token; at most the context length; not padded.
    pub ids: Vec<u32>,
    /// Index of the (first) end token.
    pub eot: usize,
}

/// CLIP's tokeniser with its context length.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    context: usize,
    start: u32,
    end: u32,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTokenizer")
            .field("vocabulary", &self.vocabulary_size())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Reads a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// If it is no such file, is beyond the limits, has a part that no CLIP has, lacks CLIP's start or end token, or the
    /// context has no room for them.
    pub fn from_json(json: impl AsRef<[u8]>, context_length: usize) -> Result<Self> {
        Self::from_tokenizer(vocabulary::read(json.as_ref())?, context_length)
    }

    /// Assembles CLIP's tokeniser from the two files of its first release: `vocab.json` (token to id) and `merges.txt`
    /// (one pair a line, best first, after a `#version` line).
    ///
    /// # Errors
    /// If a file is malformed (says where), they do not belong together, or as [`Self::from_json`].
    pub fn from_vocab_and_merges(
        vocab_json: &str,
        merges_txt: &str,
        context_length: usize,
    ) -> Result<Self> {
        for (file, content) in [("vocab.json", vocab_json), ("merges.txt", merges_txt)] {
            vocabulary::within(file, content.as_bytes())?;
        }
        let ids =
            serde_json::from_str(vocab_json).map_err(|e| problem("vocab.json", &e.to_string()))?;
        let mut merges = Vec::new();
        for (index, line) in merges_txt.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with("#version") {
                continue;
            }
            let Some((left, right)) = line
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
            else {
                let message = format!(
                    "line {} is {line:?}; it must be two tokens with a space between",
                    index + 1
                );
                return Err(problem("merges.txt", &message));
            };
            merges.push((left.to_owned(), right.to_owned()));
        }
        Self::from_tokenizer(
            assemble(vocabulary::of_parts(ids, merges)?)?,
            context_length,
        )
    }

    /// Takes an assembled tokeniser of the Hugging Face library. Its own padding and truncation are switched off.
    ///
    /// # Errors
    /// If it lacks CLIP's start or end token, or the context has no room for them.
    pub fn from_tokenizer(mut tokenizer: Tokenizer, context_length: usize) -> Result<Self> {
        if context_length < 2 {
            return Err(Error::Tokenizer(format!(
                "a context of {context_length} has no room for the start and the end token"
            )));
        }
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| {
                Error::Tokenizer(format!(
                    "the vocabulary has no {token}; this is not a CLIP tokenizer"
                ))
            })
        };
        let (start, end) = (id(START)?, id(END)?);
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(Self {
            tokenizer,
            context: context_length,
            start,
            end,
        })
    }

    /// Writes the `tokenizer.json` that [`Self::from_json`] reads.
    pub fn to_json(&self) -> String {
        // Strings and numbers only: nothing that could fail to be written.
        self.tokenizer.to_string(false).unwrap_or_default()
    }

    /// Number of different tokens, the frame tokens among them: one more than the largest id if ids have no gaps.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The most tokens of a text, start and end included.
    pub fn context_length(&self) -> usize {
        self.context
    }

    /// The text as CLIP's cleaning leaves it: what is cut into words and encoded.
    pub fn clean(&self, text: &str) -> String {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES)];
        clean::clean(text, self.context, self.context * CHARACTERS_PER_TOKEN)
    }

    /// Cleans and encodes a text; one that is too long keeps its first tokens and the end token.
    ///
    /// # Errors
    /// If the tokeniser fails on it.
    pub fn encode(&self, text: &str) -> Result<Encoded> {
        let encoding = self
            .tokenizer
            .encode_fast(self.clean(text), false)
            .map_err(|e| Error::Tokenizer(format!("a text cannot be encoded: {e}")))?;
        let mut ids = Vec::with_capacity(self.context.min(encoding.len() + 2));
        ids.push(self.start);
        ids.extend(encoding.get_ids().iter().take(self.context - 2));
        ids.push(self.end);
        let eot = ids
            .iter()
            .position(|&id| id == self.end)
            .unwrap_or(ids.len() - 1);
        Ok(Encoded { ids, eot })
    }

    /// Stacks texts: ids [B, L] padded with zeros, L being `pad_to` or the longest text's length.
    ///
    /// # Errors
    /// If a text is longer than `pad_to`, or the tensors cannot be made on the device.
    pub fn batch(
        &self,
        texts: &[Encoded],
        pad_to: Option<usize>,
        device: &Device,
    ) -> Result<Tokens> {
        let longest = texts.iter().map(|t| t.ids.len()).max().unwrap_or(0);
        let length = pad_to.unwrap_or(longest);
        if longest > length {
            return Err(Error::Input(format!(
                "a text of {longest} tokens does not fit in {length}"
            )));
        }
        let mut ids = vec![0u32; texts.len() * length];
        for (row, text) in ids.chunks_exact_mut(length.max(1)).zip(texts) {
            row[..text.ids.len()].copy_from_slice(&text.ids);
        }
        Ok(Tokens {
            ids: Tensor::from_vec(ids, (texts.len(), length), device)?,
            eot: texts.iter().map(|text| text.eot).collect(),
        })
    }
}

/// CLIP's pipeline around a byte-pair model that has CLIP's two frame tokens in its vocabulary: normaliser, words,
/// bytes, frame.
///
/// # Errors
/// If the model lacks a frame token.
pub fn assemble(bpe: BPE) -> Result<Tokenizer> {
    let failed = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
    let mut tokenizer = Tokenizer::new(bpe);
    let frame = |token: &str| {
        tokenizer
            .token_to_id(token)
            .map(|id| (token.to_owned(), id))
            .ok_or_else(|| Error::Tokenizer(format!("the vocabulary has no {token}")))
    };
    let (start, end) = (frame(START)?, frame(END)?);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(failed)?;
    let words = Split::new(
        SplitPattern::Regex(WORDS.into()),
        SplitDelimiterBehavior::Removed,
        true,
    )
    .map_err(failed)?;
    let bytes = ByteLevel::new(false, true, true);
    tokenizer
        .with_normalizer(Some(Normalizers::new(vec![
            NFC.into(),
            spaces.into(),
            Lowercase.into(),
        ])))
        .map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
    tokenizer.with_post_processor(Some(
        RobertaProcessing::new(end, start)
            .trim_offsets(false)
            .add_prefix_space(false),
    ));
    tokenizer.with_decoder(Some(bytes));
    tokenizer
        .add_special_tokens(
            [START, END].map(|token| AddedToken::from(token, true).normalized(false)),
        )
        .map_err(failed)?;
    Ok(tokenizer)
}
