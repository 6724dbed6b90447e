//! Owns reading WordNet 3.0: its concrete nouns with their hypernyms and glosses, and the set of all its words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The lexicographer files of nouns, by number (lexnames(5WN) counts them from 3).
const LEXICOGRAPHERS: [&str; 26] = [
    "Tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
];
/// Files of things that can be drawn, done or met.
const CONCRETE: [&str; 17] = [
    "act",
    "animal",
    "artifact",
    "body",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "object",
    "person",
    "phenomenon",
    "plant",
    "shape",
    "substance",
    "time",
];
/// Files in which a second sense is as drawable as the first.
const TWO_SENSES: [&str; 6] = ["animal", "artifact", "body", "food", "person", "plant"];
/// How far up hypernyms are followed.
const HYPERNYMS: usize = 4;

/// One noun in one sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noun {
    /// One or two lower-case words.
    pub lemma: String,
    /// The other words of the same sense.
    pub synonyms: Vec<String>,
    /// First words of the senses above, nearest first.
    pub hypernyms: Vec<String>,
    /// The definition, without examples.
    pub gloss: String,
    /// The kind of thing: `animal`, `food`, ...
    pub lexicographer: String,
    /// Whether the sense occurs in WordNet's tagged texts.
    pub common: bool,
}

struct Synset {
    lexicographer: usize,
    words: Vec<String>,
    hypernym: Option<u32>,
    gloss: String,
}

/// The concrete nouns in `folder` (`data.noun`, `index.noun`, `cntlist.rev`), in alphabetical order.
///
/// # Errors
/// If a file is missing or a line is not as WordNet 3.0 writes it.
pub fn nouns(folder: &Path) -> Result<Vec<Noun>> {
    let synsets = synsets(folder)?;
    let counted = counted_senses(folder)?;
    let mut nouns = Vec::new();
    let index = read(&folder.join("index.noun"))?;
    for (number, line) in index
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with(' '))
    {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let lemma = fields.first().copied().unwrap_or_default();
        if !is_plain(lemma) {
            continue;
        }
        let senses: usize = fields
            .get(2)
            .and_then(|n| n.parse().ok())
            .with_context(|| format!("index.noun line {}: no number of senses", number + 1))?;
        let offsets = &fields[fields.len().saturating_sub(senses)..];
        for (sense, offset) in offsets.iter().take(2).enumerate() {
            let synset = offset
                .parse()
                .ok()
                .and_then(|offset: u32| synsets.get(&offset));
            let synset = synset.with_context(|| {
                format!(
                    "index.noun line {}: data.noun has no sense {offset}",
                    number + 1
                )
            })?;
            let lexicographer = LEXICOGRAPHERS[synset.lexicographer];
            let wanted = if sense == 0 {
                CONCRETE.as_slice()
            } else {
                TWO_SENSES.as_slice()
            };
            // The index is lower-case throughout; the sense keeps the case of names.
            if !wanted.contains(&lexicographer) || !synset.words.iter().any(|word| word == lemma) {
                continue;
            }
            let hypernyms = hypernyms(&synsets, synset);
            if hypernyms
                .iter()
                .take(1)
                .any(|h| h.ends_with("genus") || h.ends_with("family"))
            {
                continue;
            }
            nouns.push(Noun {
                lemma: spaced(lemma),
                synonyms: synset
                    .words
                    .iter()
                    .filter(|w| *w != lemma)
                    .map(|w| spaced(w))
                    .collect(),
                hypernyms,
                gloss: synset.gloss.clone(),
                lexicographer: lexicographer.to_owned(),
                common: counted.contains(&(lemma.to_owned(), sense + 1)),
            });
        }
    }
    Ok(nouns)
}

/// Every single word WordNet knows, of any part of speech: what is in it is a word and not an author's name.
///
/// # Errors
/// If a file is missing.
pub fn lexicon(folder: &Path) -> Result<BTreeSet<String>> {
    let mut words = BTreeSet::new();
    for part in ["noun", "verb", "adj", "adv"] {
        for line in read(&folder.join(format!("index.{part}")))?.lines() {
            let lemma = line.split(' ').next().unwrap_or_default();
            words.extend(
                lemma
                    .split(['_', '-'])
                    .filter(|w| w.len() > 1)
                    .map(str::to_owned),
            );
        }
        for line in read(&folder.join(format!("{part}.exc")))?.lines() {
            words.extend(line.split(' ').next().map(str::to_owned));
        }
    }
    Ok(words)
}

fn synsets(folder: &Path) -> Result<BTreeMap<u32, Synset>> {
    let mut synsets = BTreeMap::new();
    let data = read(&folder.join("data.noun"))?;
    for (number, line) in data
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with(' '))
    {
        let (offset, synset) = synset(line).with_context(|| {
            format!(
                "data.noun line {}: not a sense as WordNet 3.0 writes it",
                number + 1
            )
        })?;
        synsets.insert(offset, synset);
    }
    Ok(synsets)
}

/// `offset lex_filenum ss_type w_cnt(hex) (word lex_id)* p_cnt (pointer offset pos source/target)* | gloss`
fn synset(line: &str) -> Option<(u32, Synset)> {
    let (head, gloss) = line.split_once('|')?;
    let fields: Vec<&str> = head.split_whitespace().collect();
    let offset = fields.first()?.parse().ok()?;
    let lexicographer = fields.get(1)?.parse::<usize>().ok()?.checked_sub(3)?;
    LEXICOGRAPHERS.get(lexicographer)?;
    let count = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    let words = (0..count)
        .map(|i| fields.get(4 + 2 * i).map(|word| (*word).to_owned()))
        .collect::<Option<Vec<_>>>()?;
    let pointers = fields.get(5 + 2 * count..)?;
    let hypernym = pointers
        .chunks_exact(4)
        .find(|pointer| pointer[0] == "@" || pointer[0] == "@i")
        .and_then(|pointer| pointer[1].parse().ok());
    let definition = gloss
        .split(';')
        .find(|part| !part.contains('"'))
        .unwrap_or_default();
    let gloss = definition.trim().to_owned();
    Some((
        offset,
        Synset {
            lexicographer,
            words,
            hypernym,
            gloss,
        },
    ))
}

fn hypernyms(synsets: &BTreeMap<u32, Synset>, synset: &Synset) -> Vec<String> {
    let mut chain = Vec::new();
    let mut current = synset;
    while chain.len() < HYPERNYMS {
        let Some(above) = current.hypernym.and_then(|offset| synsets.get(&offset)) else {
            break;
        };
        chain.extend(above.words.first().map(|word| spaced(word)));
        current = above;
    }
    chain
}

/// Lemma and sense number of every noun sense that the tagged texts contain (`lemma%1:.. sense count`).
fn counted_senses(folder: &Path) -> Result<BTreeSet<(String, usize)>> {
    let counts = read(&folder.join("cntlist.rev"))?;
    Ok(counts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (lemma, _) = fields.next()?.split_once("%1:")?;
            Some((lemma.to_owned(), fields.next()?.parse().ok()?))
        })
        .collect())
}

/// One or two words of lower-case letters.
fn is_plain(lemma: &str) -> bool {
    let words: Vec<&str> = lemma.split('_').collect();
    words.len() <= 2
        && words
            .iter()
            .all(|w| w.len() > 1 && w.chars().all(|c| c.is_ascii_lowercase()))
        && !matches!(words[0], "genus" | "family")
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_carry_hypernyms_synonyms_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "data.noun",
            "  1 licence\n\
             00000010 05 n 01 animal 0 000 | a living organism  \n\
             00000020 05 n 02 dog 0 domestic_dog 0 001 @ 00000010 n 0000 | a pet; \"the dog barked\"  \n\
             00000030 05 n 01 Rex 0 001 @i 00000020 n 0000 | a dog's name  \n",
        );
        write(
            "index.noun",
            "  1 licence\n\
             dog n 1 1 @ 1 1 00000020  \n\
             rex n 1 1 @ 1 0 00000030  \n\
             domestic_dog n 1 1 @ 1 0 00000020  \n",
        );
        write("cntlist.rev", "dog%1:05:00:: 1 42\nrun%2:38:00:: 1 9\n");
        let nouns = nouns(folder.path()).unwrap();
        assert_eq!(nouns.len(), 2);
        assert_eq!(nouns[0].lemma, "dog");
        assert_eq!(nouns[0].synonyms, ["domestic dog"]);
        assert_eq!(nouns[0].hypernyms, ["animal"]);
        assert_eq!(nouns[0].gloss, "a pet");
        assert!(nouns[0].common && !nouns[1].common);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data.noun"), "nonsense\n").unwrap();
        let error = format!("{:#}", nouns(folder.path()).unwrap_err());
        assert!(error.contains("data.noun line 1"), "{error}");
    }
}
