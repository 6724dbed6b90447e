//! Owns the nouns of WordNet: pairs of a word and what it is, which give the text tower words that no drawing has.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;
use shared::rng::{Rng, below, unit};

use super::captions::some;
use super::drawings::read_lines;

/// One line of `wordnet.jsonl`: a sense of a noun.
#[derive(Clone, Debug, Deserialize)]
pub struct Noun {
    /// The word.
    pub lemma: String,
    /// Other words of the same sense.
    #[serde(default)]
    pub synonyms: Vec<String>,
    /// What it is, the nearest first.
    #[serde(default)]
    pub hypernyms: Vec<String>,
    /// The definition.
    #[serde(default)]
    pub gloss: String,
    /// The lexicographer's file: `food`, `animal`, ...
    pub lexicographer: String,
    /// Whether the sense occurs in WordNet's counted texts.
    pub common: bool,
}

/// Most hypernyms in a description.
const HYPERNYMS: usize = 3;
/// Share of common nouns in a batch: they are a seventh of all, but what people write.
const COMMON: f64 = 0.75;

/// All nouns, the common ones known by index.
#[derive(Debug)]
pub struct Nouns {
    nouns: Vec<Noun>,
    common: Vec<usize>,
}

impl Nouns {
    /// Reads `wordnet.jsonl`.
    ///
    /// # Errors
    /// If it cannot be read, or has no common noun.
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(read_lines(path)?)
    }

    /// These nouns.
    ///
    /// # Errors
    /// If none is common.
    pub fn new(nouns: Vec<Noun>) -> Result<Self> {
        let common: Vec<usize> = (0..nouns.len()).filter(|&at| nouns[at].common).collect();
        ensure!(
            !common.is_empty(),
            "there is no common noun among the {} of WordNet",
            nouns.len()
        );
        Ok(Self { nouns, common })
    }

    /// The common nouns.
    pub fn common(&self) -> impl Iterator<Item = &Noun> {
        self.common.iter().map(|&at| &self.nouns[at])
    }

    /// `count` pairs (word, description) of different nouns; fewer if there are not as many nouns.
    pub fn pairs(&self, count: usize, rng: &mut Rng) -> Vec<(String, String)> {
        let mut taken = BTreeSet::new();
        let mut pairs = Vec::with_capacity(count);
        // Draws that were taken are drawn anew; the bound ends it when the nouns run out.
        for _ in 0..20 * count {
            if pairs.len() == count {
                break;
            }
            let is_common = unit(rng) < COMMON;
            let at = if is_common {
                self.common[below(rng, self.common.len())]
            } else {
                below(rng, self.nouns.len())
            };
            let noun = &self.nouns[at];
            if taken.insert(noun.lemma.as_str()) {
                pairs.push((word(noun, rng), description(noun, rng)));
            }
        }
        pairs
    }
}

/// The lemma, or in three of ten cases a synonym.
fn word(noun: &Noun, rng: &mut Rng) -> String {
    if noun.synonyms.is_empty() || unit(rng) < 0.7 {
        noun.lemma.clone()
    } else {
        noun.synonyms[below(rng, noun.synonyms.len())].clone()
    }
}

/// The nearest hypernyms, half the time the lexicographer's file, half the time words of the gloss.
fn description(noun: &Noun, rng: &mut Rng) -> String {
    let nearest = &noun.hypernyms[..noun.hypernyms.len().min(1 + below(rng, HYPERNYMS))];
    let mut parts: Vec<&str> = nearest.iter().map(String::as_str).collect();
    if parts.is_empty() || unit(rng) < 0.5 {
        parts.push(&noun.lexicographer);
    }
    if unit(rng) < 0.5 {
        let most = 3 + below(rng, 6);
        let words: Vec<&str> = noun.gloss.split_whitespace().collect();
        // A run of words, so that what is learnt is how words follow each other.
        let start = below(rng, words.len().saturating_sub(most) + 1);
        parts.extend(words.iter().skip(start).take(most));
    } else if !noun.synonyms.is_empty() && unit(rng) < 0.3 {
        parts.extend(some(&noun.synonyms, 1, rng));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::rng::stream;

    fn nouns() -> Nouns {
        let noun = |at: usize| Noun {
            lemma: format!("noun{at}"),
            synonyms: vec![format!("other{at}")],
            hypernyms: ["fruit", "food", "thing", "entity"]
                .map(String::from)
                .to_vec(),
            gloss: "a round red thing that grows on trees and is eaten".into(),
            lexicographer: "food".into(),
            common: at < 40,
        };
        Nouns::new((0..200).map(noun).collect()).unwrap()
    }

    #[test]
    fn a_batch_has_different_nouns_mostly_common() {
        let pairs = nouns().pairs(24, &mut stream(1, "wordnet"));
        let number = |word: &str| {
            word.trim_start_matches(char::is_alphabetic)
                .parse::<usize>()
                .unwrap()
        };
        let numbers: BTreeSet<usize> = pairs.iter().map(|(word, _)| number(word)).collect();
        assert_eq!(numbers.len(), 24);
        assert!(numbers.iter().filter(|&&at| at < 40).count() > 12);
        assert!(pairs.iter().all(|(_, text)| text.starts_with("fruit")));
    }

    #[test]
    fn it_ends_when_the_nouns_run_out() {
        assert!(nouns().pairs(500, &mut stream(1, "wordnet")).len() <= 200);
    }
}
