//! Owns what is tried of texts: any text becomes tokens of the vocabulary, between its start and its end token.

use std::sync::OnceLock;

use shared::preprocess::text::TextTokenizer;

const CONTEXT: usize = 77;
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../assets/clip-tiny/tokenizer.json"
);

/// Cleans and encodes a text.
pub fn run(bytes: &[u8]) {
    static TOKENIZER: OnceLock<Option<TextTokenizer>> = OnceLock::new();
    let tokenizer = TOKENIZER.get_or_init(|| {
        let json = std::fs::read(FILE).ok()?;
        TextTokenizer::from_json(json, CONTEXT).ok()
    });
    let tokenizer = tokenizer.as_ref();
    assert!(tokenizer.is_some(), "{FILE} cannot be read");
    let Some(tokenizer) = tokenizer else { return };
    let text = String::from_utf8_lossy(bytes);
    let Ok(encoded) = tokenizer.encode(&text) else {
        return;
    };
    assert!((2..=CONTEXT).contains(&encoded.ids.len()));
    assert!(encoded.eot < encoded.ids.len());
    let vocabulary = tokenizer.vocabulary_size();
    assert!(encoded.ids.iter().all(|id| (*id as usize) < vocabulary));
}
