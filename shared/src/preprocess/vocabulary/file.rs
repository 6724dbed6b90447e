//! Owns what is read of a tokenizer's files, held to the limits while it is read.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

use crate::limits::{ADDED_TOKEN_BYTES, ADDED_TOKENS, VOCABULARY};

/// What is read of the file. The way back from tokens to text, the frame, padding and truncation are our own.
#[derive(Deserialize)]
pub(super) struct File {
    pub(super) model: Model,
    pub(super) normalizer: Option<Value>,
    pub(super) pre_tokenizer: Option<Value>,
    #[serde(default)]
    pub(super) added_tokens: Added,
}

/// The byte-pair model.
#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) vocab: Ids,
    pub(super) merges: Merges,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
}

/// Tokens with their ids.
#[derive(Default)]
pub(in super::super) struct Ids(pub(super) Vocab);

/// Pairs that become one token, best first.
pub(super) struct Merges(pub(super) Vec<(String, String)>);

/// Tokens that are looked for before all else.
#[derive(Default)]
pub(super) struct Added(pub(super) Vec<AddedToken>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;

        impl<'de> Visitor<'de> for Tokens {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids, A::Error> {
                let mut ids = Vocab::default();
                while let Some((token, id)) = map.next_entry()? {
                    if ids.len() == VOCABULARY {
                        return Err(too_many("tokens", VOCABULARY));
                    }
                    ids.insert(token, id);
                }
                Ok(Ids(ids))
            }
        }

        deserializer.deserialize_map(Tokens)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As files have it now, or as they had it: two words with a space between.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Pair {
            Two(String, String),
            Words(String),
        }

        let split = |pair: Pair| match pair {
            Pair::Two(left, right) => Some((left, right)),
            Pair::Words(both) => both
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
                .map(|(left, right)| (left.to_owned(), right.to_owned())),
        };
        let pairs = bounded::<Pair, D>(deserializer, "merges", VOCABULARY)?;
        let pairs: Option<Vec<_>> = pairs.into_iter().map(split).collect();
        pairs.map(Self).ok_or_else(|| {
            serde::de::Error::custom("a merge is no pair of tokens with a space between")
        })
    }
}

impl<'de> Deserialize<'de> for Added {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tokens = bounded::<AddedToken, D>(deserializer, "added tokens", ADDED_TOKENS)?;
        let mut seen = BTreeSet::new();
        for token in &tokens {
            if token.content.is_empty() || token.content.len() > ADDED_TOKEN_BYTES {
                let message = format!("an added token has 1 to {ADDED_TOKEN_BYTES} bytes");
                return Err(serde::de::Error::custom(message));
            }
            if !seen.insert(&token.content) {
                let message = format!("the token {:?} is added twice", token.content);
                return Err(serde::de::Error::custom(message));
            }
        }
        Ok(Self(tokens))
    }
}

/// A list of at most so many items.
fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    what: &'static str,
    most: usize,
) -> Result<Vec<T>, D::Error> {
    struct List<T>(&'static str, usize, std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of {}", self.0)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == self.1 {
                    return Err(too_many(self.0, self.1));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(List(what, most, std::marker::PhantomData))
}

fn too_many<E: serde::de::Error>(what: &str, most: usize) -> E {
    E::custom(format!("it has more than {most} {what}"))
}
