//! Owns what is tried of tokenizers: any tokenizer.json, or any vocab.json with any merges.txt, is a tokenizer or an error.

use shared::preprocess::text::TextTokenizer;

const CONTEXT: usize = 16;
/// Divides a vocab.json from a merges.txt.
const BETWEEN: u8 = 0;

/// Reads a tokenizer and encodes some texts with it.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == BETWEEN);
    let tokenizer = match (parts.next(), parts.next()) {
        (Some(vocabulary), Some(merges)) => TextTokenizer::from_vocab_and_merges(
            &String::from_utf8_lossy(vocabulary),
            &String::from_utf8_lossy(merges),
            CONTEXT,
        ),
        _ => TextTokenizer::from_json(bytes, CONTEXT),
    };
    let Ok(tokenizer) = tokenizer else { return };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    for text in ["a cat, ab's 12 <|endoftext|> \u{e9}\u{301}", &text] {
        if let Ok(encoded) = tokenizer.encode(text) {
            assert!((2..=CONTEXT).contains(&encoded.ids.len()));
            assert!(encoded.eot < encoded.ids.len());
        }
    }
    let again = TextTokenizer::from_json(tokenizer.to_json(), CONTEXT);
    assert!(again.is_ok(), "what was read is not written so: {again:?}");
}
