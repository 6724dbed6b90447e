//! Owns what a pretraining run reads: drawings, nouns, and the tokenizer learnt from their words.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use shared::preprocess::text::TextTokenizer;

use super::drawings::{Library, Split};
use super::feed;
use super::settings::PretrainSettings;
use super::tokenizer;
use super::wordnet::Nouns;

/// The training data in memory.
pub struct Data {
    /// Drawings of the training split.
    pub library: Library,
    /// Nouns of WordNet.
    pub nouns: Nouns,
    /// Groups to classify, with their numbers.
    pub groups: BTreeMap<String, usize>,
    /// The tokenizer of the new CLIP.
    pub tokenizer: TextTokenizer,
}

impl Data {
    /// Reads the data and learns the tokenizer, or takes the one at `tokenizer_json` if given.
    ///
    /// # Errors
    /// If the data is missing or damaged.
    pub fn read(settings: &PretrainSettings, tokenizer_json: Option<&Path>) -> Result<Self> {
        let library = Library::read(&settings.data.drawings, Split::Train)?;
        let nouns = Nouns::read(&settings.data.wordnet)?;
        let context = settings.model.context;
        let tokenizer = match tokenizer_json {
            Some(path) => {
                let json = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                TextTokenizer::from_json(&json, context)?
            }
            None => {
                let vocabulary =
                    tokenizer::train(&corpus(&library, &nouns), settings.model.vocabulary)?;
                TextTokenizer::from_vocab_and_merges(
                    &vocabulary.vocab_json,
                    &vocabulary.merges_txt,
                    context,
                )?
            }
        };
        Ok(Self {
            groups: feed::groups(&library),
            library,
            nouns,
            tokenizer,
        })
    }
}

/// What the tokenizer is learnt from: names and tags of what is trained on, and the words people use of WordNet's.
fn corpus(library: &Library, nouns: &Nouns) -> Vec<String> {
    let drawn = library
        .subjects()
        .flat_map(|subject| std::iter::once(&subject.name).chain(&subject.tags));
    drawn
        .chain(nouns.common().map(|noun| &noun.lemma))
        .cloned()
        .collect()
}
