//! Owns HTML's character references: the way browsers, and Python's `html.unescape`, read them.

use std::sync::OnceLock;

/// Names and code points of the HTML standard, sorted: `name` with its semicolon if it needs one, then `X+X..` in hex.
const NAMES: &str = include_str!("entities.txt");

/// The longest name that is looked for.
const LONGEST: usize = 32;

/// Replaces character references, with or without a semicolon, as the HTML standard does.
pub(super) fn unescape(text: &str) -> String {
    replace(text, |reference| match reference.strip_prefix('#') {
        Some(number) => numeric(number),
        None => named(reference).or_else(|| {
            // A known name may be followed by letters: "&notit;" is "¬it;".
            let ends = reference
                .char_indices()
                .map(|(at, _)| at)
                .skip(2)
                .collect::<Vec<_>>();
            ends.into_iter()
                .rev()
                .find_map(|at| named(&reference[..at]).map(|value| value + &reference[at..]))
        }),
    })
}

/// Replaces only references that end in a semicolon, and also reads names in capitals (`&EACUTE;`): what ftfy does
/// with text that seems to be no HTML.
pub(super) fn unescape_strict(text: &str) -> String {
    replace(text, |reference| {
        let name = reference
            .strip_suffix(';')
            .filter(|name| name.len() <= 24)?;
        match name.strip_prefix('#') {
            Some(number) => numeric(number),
            None if !name.bytes().all(|b| b.is_ascii_alphanumeric()) => None,
            None => named(reference).or_else(|| {
                let shouted =
                    !name.bytes().any(|b| b.is_ascii_lowercase()) && named(name).is_none();
                if shouted {
                    named(&reference.to_lowercase()).map(|value| value.to_uppercase())
                } else {
                    None
                }
            }),
        }
    })
}

/// Finds references and replaces those that `read` understands; it gets them without the ampersand.
fn replace(text: &str, read: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let length = extent(after);
        match read(&after[..length]).filter(|_| length > 0) {
            Some(value) => out.push_str(&value),
            None => {
                out.push('&');
                out.push_str(&after[..length]);
            }
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// How many bytes behind an ampersand may belong to a reference.
fn extent(after: &str) -> usize {
    let number = after
        .strip_prefix('#')
        .map(|digits| match digits.strip_prefix(['x', 'X']) {
            Some(hex) => (2, hex.bytes().take_while(u8::is_ascii_hexdigit).count()),
            None => (1, digits.bytes().take_while(u8::is_ascii_digit).count()),
        });
    let length = match number {
        Some((_, 0)) => return 0,
        Some((head, digits)) => head + digits,
        None => after
            .char_indices()
            .take(LONGEST)
            .take_while(|(_, c)| !matches!(c, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';'))
            .last()
            .map_or(0, |(at, c)| at + c.len_utf8()),
    };
    length + usize::from(length > 0 && after[length..].starts_with(';'))
}

fn numeric(number: &str) -> Option<String> {
    let digits = number.trim_end_matches(';');
    let value = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    Some(match value {
        Ok(0) | Err(_) => "\u{fffd}".into(),
        Ok(code @ 0x80..=0x9f) => super::repair::windows_1252(code as u8).into(),
        Ok(0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef) => String::new(),
        Ok(code) if code & 0xfffe == 0xfffe && code <= 0x10ffff => String::new(),
        Ok(code) => char::from_u32(code).unwrap_or('\u{fffd}').into(),
    })
}

fn named(name: &str) -> Option<String> {
    static TABLE: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        NAMES
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect()
    });
    let place = table.binary_search_by_key(&name, |(name, _)| name).ok()?;
    table[place]
        .1
        .split('+')
        .map(|code| u32::from_str_radix(code, 16).ok().and_then(char::from_u32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("a &amp; b &lt;i&gt; &copy &copy;", "a & b <i> © ©"),
            (
                "&notit; &notin; &#39;&#x27;&#128;&#0;&#1;",
                "¬it; ∉ ''€\u{fffd}",
            ),
            ("&unknown; & &; &# &#x; AT&T", "&unknown; & &; &# &#x; AT&T"),
            ("&NotEqualTilde;", "\u{2242}\u{338}"),
        ] {
            assert_eq!(unescape(text), expected);
        }
        assert_eq!(
            unescape_strict("P&EACUTE;REZ &copy &nTILDE; &eacute;"),
            "PÉREZ &copy &nTILDE; é"
        );
    }
}
