//! Owns the way from captions to token ids during training: each word is encoded once and remembered.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use shared::clip::Tokens;
use shared::preprocess::text::TextTokenizer;

/// A tokenizer that remembers words. CLIP never merges across spaces, so a text's ids are those of its words in a row.
pub struct WordCache<'a> {
    tokenizer: &'a TextTokenizer,
    words: HashMap<String, Vec<u32>>,
    start: u32,
    end: u32,
}

impl<'a> WordCache<'a> {
    /// An empty cache.
    ///
    /// # Errors
    /// If the tokenizer cannot encode the empty text.
    pub fn new(tokenizer: &'a TextTokenizer) -> Result<Self> {
        let empty = tokenizer.encode("")?;
        let (start, end) = (empty.ids[0], empty.ids[empty.eot]);
        Ok(Self {
            tokenizer,
            words: HashMap::new(),
            start,
            end,
        })
    }

    /// `texts` as one batch, each cut to `longest` tokens with the end token kept, and padded to the longest of them.
    ///
    /// # Errors
    /// If a word cannot be encoded or the tensors not be made.
    pub fn batch<S: AsRef<str>>(
        &mut self,
        texts: &[S],
        longest: usize,
        device: &Device,
    ) -> Result<Tokens> {
        let rows: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| self.encode(text.as_ref(), longest))
            .collect::<Result<_>>()?;
        let length = rows.iter().map(Vec::len).max().unwrap_or(2);
        let mut ids = vec![0u32; rows.len() * length];
        for (padded, row) in ids.chunks_mut(length).zip(&rows) {
            padded[..row.len()].copy_from_slice(row);
        }
        Ok(Tokens {
            ids: Tensor::from_vec(ids, (rows.len(), length), device)?,
            eot: rows.iter().map(|row| row.len() - 1).collect(),
        })
    }

    fn encode(&mut self, text: &str, longest: usize) -> Result<Vec<u32>> {
        let mut ids = vec![self.start];
        for word in text.split_whitespace() {
            if ids.len() + 1 >= longest {
                break;
            }
            if !self.words.contains_key(word) {
                let encoded = self.tokenizer.encode(word)?;
                self.words
                    .insert(word.to_string(), encoded.ids[1..encoded.eot].to_vec());
            }
            ids.extend(&self.words[word]);
        }
        ids.truncate(longest - 1);
        ids.push(self.end);
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrain::tokenizer::train;

    #[test]
    fn words_in_a_row_are_the_text() {
        let texts: Vec<String> = [
            "red apple's",
            "green apples 42!",
            "Pineapple -- café",
            "sitting, sat",
        ]
        .map(String::from)
        .to_vec();
        let vocabulary = train(&texts, 530).unwrap();
        let tokenizer = TextTokenizer::from_vocab_and_merges(
            &vocabulary.vocab_json,
            &vocabulary.merges_txt,
            32,
        )
        .unwrap();
        let mut cache = WordCache::new(&tokenizer).unwrap();
        for text in &texts {
            assert_eq!(
                cache.encode(text, 32).unwrap(),
                tokenizer.encode(text).unwrap().ids,
                "{text}"
            );
        }
        let tokens = cache.batch(&["", "red apple"], 4, &Device::Cpu).unwrap();
        let ids = tokens.ids.to_vec2::<u32>().unwrap();
        assert_eq!((ids[0][1], ids[1][3], tokens.eot), (529, 529, vec![1, 3]));
    }
}
