//! Owns the text's part of an explanation: its words, and what fell without each.

use serde::{Deserialize, Serialize};

use super::Score;
use super::removal::{Removal, Trial};
use crate::predict::Classifier;

/// What the score rests on in the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextMap {
    /// The text in pieces, words and what is between them; joined they are the text.
    pub pieces: Vec<String>,
    /// By how much the class's log odds fall without the piece; absent for what is no word, or beyond what is read.
    pub falls: Vec<Option<f32>>,
    /// What taking the marked words away does.
    pub removal: Option<Removal>,
}

/// The text's part of the work.
pub(super) struct Words {
    pieces: Vec<Piece>,
    /// Which pieces are words that the model reads.
    pub(super) words: Vec<usize>,
    /// By word, as far as they were taken away.
    pub(super) falls: Vec<f32>,
    pub(super) trial: Trial,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    /// False for what stands between words.
    word: bool,
}

impl Words {
    pub(super) fn new(classifier: &Classifier, text: &str) -> Self {
        let pieces = pieces(text);
        // Every word is a token at least, so later ones are not read.
        let context = &classifier.network().config().clip.text_config;
        let most = context.max_position_embeddings.saturating_sub(2);
        let words = pieces.iter().enumerate();
        let words = words
            .filter(|(_, piece)| piece.word)
            .map(|(place, _)| place)
            .take(most)
            .collect();
        Self {
            pieces,
            words,
            falls: Vec::new(),
            trial: Trial::default(),
        }
    }

    /// The text without some pieces, by their places.
    pub(super) fn without(&self, left_out: &[usize]) -> String {
        let pieces = self.pieces.iter().enumerate();
        let rest = pieces.filter(|(place, _)| !left_out.contains(place));
        rest.map(|(_, piece)| piece.text.as_str()).collect()
    }

    pub(super) fn finish(self, whole: Score) -> TextMap {
        let mut falls = vec![None; self.pieces.len()];
        for (&place, &fall) in self.words.iter().zip(&self.falls) {
            falls[place] = Some(fall);
        }
        let mut removal = self.trial.removal(whole);
        if let Some(removal) = &mut removal {
            let places = removal
                .marked
                .iter()
                .filter_map(|&word| self.words.get(word));
            removal.marked = places.copied().collect();
        }
        TextMap {
            pieces: self.pieces.into_iter().map(|piece| piece.text).collect(),
            falls,
            removal,
        }
    }
}

/// The pieces of a text in order; joined they are the text. A word is a run of letters, digits and the apostrophes
/// within; characters of scripts without spaces between words are words by themselves.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut alone = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let apostrophe = matches!(letter, '\'' | '’')
            && pieces.last().is_some_and(|piece| piece.word)
            && letters.peek().is_some_and(|next| next.is_alphabetic());
        let word = letter.is_alphanumeric() || apostrophe;
        let whole = word && by_itself(letter);
        match pieces.last_mut() {
            Some(last) if last.word == word && !(word && (whole || alone)) => {
                last.text.push(letter);
            }
            _ => pieces.push(Piece {
                text: letter.into(),
                word,
            }),
        }
        alone = whole;
    }
    pieces
}

/// Han, kana and Thai write no spaces between words.
fn by_itself(letter: char) -> bool {
    matches!(letter, '\u{0e00}'..='\u{0e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        for (text, words) in [
            (
                "A cook's soup, 3 ways!",
                vec!["A", "cook's", "soup", "3", "ways"],
            ),
            ("  ", vec![]),
            ("", vec![]),
            ("'quoted'", vec!["quoted"]),
            ("赤い車 red", vec!["赤", "い", "車", "red"]),
        ] {
            let pieces = pieces(text);
            let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(joined, text);
            let found: Vec<&str> = pieces
                .iter()
                .filter(|piece| piece.word)
                .map(|piece| piece.text.as_str())
                .collect();
            assert_eq!(found, words);
        }
    }
}
