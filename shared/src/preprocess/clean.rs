//! Owns CLIP's cleaning of a text: repair, HTML entities twice, single spaces, lower case.

use super::entities::unescape;
use super::repair::repair;
use crate::limits::REPAIRED_CHARACTERS;

/// Cleans a text as CLIP does, and stops once it has `words` words or `characters` characters.
///
/// Lines are cleaned independently, so a long text costs no more than its beginning.
pub(super) fn clean(text: &str, words: usize, characters: usize) -> String {
    let mut out = String::new();
    let (mut count, mut length) = (0, 0);
    let mut unescapes = true;
    // Whether the last word ended at a space, or goes on in the next piece.
    let mut open = false;
    for piece in pieces(text) {
        // From the first "<" on the text seems to be HTML, where entities are the page's business.
        unescapes &= !piece.contains('<');
        let cleaned = unescape(&unescape(&repair(piece, unescapes))).to_lowercase();
        for c in cleaned.chars() {
            if is_space(c) {
                open = false;
                continue;
            }
            if !open {
                if count == words {
                    return out;
                }
                if count > 0 {
                    out.push(' ');
                }
                count += 1;
                open = true;
            }
            if length == characters {
                return out;
            }
            out.push(c);
            length += 1;
        }
    }
    out
}

/// What Python's `\s` matches: Unicode's spaces and four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Lines with their breaks; lines beyond the longest in several pieces.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = rest
                .char_indices()
                .nth(REPAIRED_CHARACTERS)
                .map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(end);
            rest = after;
            Some(piece)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> String {
        clean(text, usize::MAX, usize::MAX)
    }

    #[test]
    fn cleaning_is_clips() {
        for (text, expected) in [
            ("", ""),
            ("  Two\u{a0} words\n\n\tand\r\nMORE ", "two words and more"),
            ("caf&amp;eacute; &lt;B&gt;", "café <b>"),
            ("<p>x &amp;amp; y</p>", "<p>x & y</p>"),
        ] {
            assert_eq!(all(text), expected);
        }
    }

    #[test]
    fn what_is_cut_is_only_the_end() {
        let text = "Ein Hund &amp; zwei Katzen\n".repeat(50);
        let whole = all(&text);
        assert_eq!(
            clean(&text, 7, usize::MAX),
            whole.split(' ').take(7).collect::<Vec<_>>().join(" ")
        );
        assert_eq!(clean("abcdef gh", usize::MAX, 4), "abcd");
    }
}
