//! Owns the repair of broken text, after ftfy's `fix_text`: mojibake, typographic variants, control characters.
//!
//! What is done as ftfy does it: entities in text that is no HTML, C1 controls read as Windows-1252, Latin ligatures,
//! full and half width, straight quotes, line breaks, terminal escapes, control characters, all until nothing changes.
//! What is narrower: mojibake is undone where UTF-8 was read as Latin-1 or Windows-1252, once or several times, which
//! is nearly all there is; other code pages, UTF-8 with lost bytes and surrogate pairs are left as they are. Unicode
//! composition (NFC) is the tokeniser's first step.

use super::entities;

/// Windows-1252's characters for the bytes 0x80 to 0x9F; the five it lacks stay controls.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The usual forms of U+FF5F to U+FFEE.
const USUAL_WIDTH: &str = "\
    ⦅⦆。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン\
    \u{3099}\u{309a}\u{1160}\u{1100}\u{1101}\u{11aa}\u{1102}\u{11ac}\
    \u{11ad}\u{1103}\u{1104}\u{1105}\u{11b0}\u{11b1}\u{11b2}\u{11b3}\
    \u{11b4}\u{11b5}\u{111a}\u{1106}\u{1107}\u{1108}\u{1121}\u{1109}\
    \u{110a}\u{110b}\u{110c}\u{110d}\u{110e}\u{110f}\u{1110}\u{1111}\
    \u{1112}\u{ffbf}\u{ffc0}\u{ffc1}\u{1161}\u{1162}\u{1163}\u{1164}\
    \u{1165}\u{1166}\u{ffc8}\u{ffc9}\u{1167}\u{1168}\u{1169}\u{116a}\
    \u{116b}\u{116c}\u{ffd0}\u{ffd1}\u{116d}\u{116e}\u{116f}\u{1170}\
    \u{1171}\u{1172}\u{ffd8}\u{ffd9}\u{1173}\u{1174}\u{1175}\u{ffdd}\
    \u{ffde}\u{ffdf}¢£¬�¦¥₩\u{ffe7}│←↑→↓■○";

/// More rounds change nothing in any text that is not made for it.
const ROUNDS: usize = 16;

/// The character of a byte in Windows-1252.
pub(super) fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// Repairs one line. `unescapes` says whether HTML entities are read.
pub(super) fn repair(line: &str, unescapes: bool) -> String {
    let mut text = line.to_owned();
    for _ in 0..ROUNDS {
        let mut next = if unescapes {
            entities::unescape_strict(&text)
        } else {
            text.clone()
        };
        for _ in 0..ROUNDS {
            match undo_mojibake(&next) {
                Some(better) => next = better,
                None => break,
            }
        }
        next = remove_controls(&remove_terminal_escapes(&simplify(&next)));
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// The byte that Latin-1 or Windows-1252 would have shown as this character.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8),
        _ => HIGH
            .iter()
            .position(|&high| high == c)
            .map(|place| 0x80 + place as u8),
    }
}

/// Reads the text as bytes of Windows-1252 that are UTF-8: all of it if it is possible and likely, otherwise only
/// sequences that are hardly ever meant. `None` if nothing is to be done.
fn undo_mojibake(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let characters: Vec<char> = text.chars().collect();
    let bytes: Vec<Option<u8>> = characters.iter().map(|&c| byte_of(c)).collect();
    if !suspicious(&bytes) {
        return None;
    }
    let whole: Option<Vec<u8>> = bytes.iter().copied().collect();
    if let Some(Ok(text)) = whole.map(|whole| String::from_utf8(restore_spaces(&whole))) {
        return Some(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    let mut at = 0;
    while at < characters.len() {
        let decoded = sequence(&bytes[at..])
            .filter(|_| glaring(&bytes[at..]))
            // "voilÃ le": the à lost its no-break space, or shares it with the word's end.
            .or_else(|| lost_space(&bytes, at).then_some(('à', 1)));
        match decoded {
            Some((c, length)) => {
                out.push(c);
                at += length;
                changed = true;
            }
            None => {
                out.push(characters[at]);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

/// The character that a UTF-8 sequence at the start stands for, if it has more than one byte, and its length.
fn sequence(bytes: &[Option<u8>]) -> Option<(char, usize)> {
    let length = match bytes.first().copied().flatten()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let raw: Vec<u8> = bytes
        .get(..length)?
        .iter()
        .copied()
        .collect::<Option<_>>()?;
    let c = std::str::from_utf8(&raw).ok()?.chars().next()?;
    Some((c, length))
}

/// Starts that are hardly ever meant: Ã or Â with a symbol, â€ and its kin, ðŸ of the emoji.
fn glaring(bytes: &[Option<u8>]) -> bool {
    matches!(
        bytes,
        [Some(0xc2 | 0xc3), Some(0x80..=0xbf), ..]
            | [Some(0xe2), Some(0x80..=0x84), ..]
            | [Some(0xf0), Some(0x9f), ..]
    )
}

/// An Ã before a space, at the start or behind a small letter.
fn lost_space(bytes: &[Option<u8>], at: usize) -> bool {
    matches!(bytes[at..], [Some(0xc3), Some(b' '), ..])
        && (at == 0 || matches!(bytes[at - 1], Some(b'a'..=b'z' | b' ')))
}

/// Whether the text looks like UTF-8 read wrongly: a glaring sequence, or several possible ones, or one whose second
/// character would not follow a letter in writing.
fn suspicious(bytes: &[Option<u8>]) -> bool {
    let mut possible = 0;
    for at in 0..bytes.len() {
        if glaring(&bytes[at..]) {
            return true;
        }
        if lost_space(bytes, at) {
            return true;
        }
        if sequence(&bytes[at..]).is_some() {
            possible += 1;
            // Not a closing quote, dash, dots, or a sign that may follow a word.
            let written = matches!(
                bytes[at + 1],
                Some(
                    0x82 | 0x84 | 0x85 | 0x8b | 0x91
                        ..=0x97
                            | 0x99
                            | 0x9b
                            | 0xa0
                            | 0xab
                            | 0xad
                            | 0xae
                            | 0xb0
                            | 0xb2
                            | 0xb3
                            | 0xb9
                            | 0xb7
                            | 0xbb
                )
            );
            if possible > 1 || !written {
                return true;
            }
        }
    }
    false
}

/// A no-break space inside a sequence often became a plain one on the way: "Ã  la" is "à la".
fn restore_spaces(bytes: &[u8]) -> Vec<u8> {
    // Written anew: to insert into so many bytes at thousands of places would take minutes.
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        out.push(byte);
        at += 1;
        if matches!(byte, 0xc2 | 0xc3) && bytes.get(at) == Some(&b' ') {
            out.push(0xa0);
            at += 1;
            let rest = &bytes[at..];
            let joined = [&b" "[..], b"quele", b"quela", b"quilo", b"s "]
                .iter()
                .any(|word| rest.starts_with(word));
            if byte == 0xc3 && !joined {
                out.push(b' ');
            }
        }
    }
    out
}

/// Typographic variants to their plain forms, and all line breaks to one.
fn simplify(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let plain = match c {
            '\u{80}'..='\u{9f}' => {
                out.push(windows_1252(u32::from(c) as u8));
                continue;
            }
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => "'",
            '\u{201c}'..='\u{201f}' => "\"",
            '\r' => {
                if characters.peek() == Some(&'\n') {
                    characters.next();
                }
                "\n"
            }
            '\u{2028}' | '\u{2029}' => "\n",
            '\u{3000}' => " ",
            'Ĳ' => "IJ",
            'ĳ' => "ij",
            'ŉ' => "'n",
            'Ǳ' => "DZ",
            'ǲ' => "Dz",
            'ǳ' => "dz",
            'Ǆ' => "DŽ",
            'ǅ' => "Dž",
            'ǆ' => "dž",
            'Ǉ' => "LJ",
            'ǈ' => "Lj",
            'ǉ' => "lj",
            'Ǌ' => "NJ",
            'ǋ' => "Nj",
            'ǌ' => "nj",
            'ﬀ' => "ff",
            'ﬁ' => "fi",
            'ﬂ' => "fl",
            'ﬃ' => "ffi",
            'ﬄ' => "ffl",
            'ﬅ' => "ſt",
            'ﬆ' => "st",
            '\u{ff01}'..='\u{ff5e}' => {
                out.extend(char::from_u32(u32::from(c) - 0xfee0));
                continue;
            }
            '\u{ffe3}' => " \u{304}",
            '\u{ff5f}'..='\u{ffee}' => {
                out.extend(USUAL_WIDTH.chars().nth(u32::from(c) as usize - 0xff5f));
                continue;
            }
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push_str(plain);
    }
    out
}

/// Removes the sequences that colour terminals: escape, bracket, numbers, a letter.
fn remove_terminal_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let after = rest[at + 2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match after.chars().next().filter(char::is_ascii_alphabetic) {
            Some(_) => rest = &after[1..],
            None => {
                out.push_str("\u{1b}[");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn remove_controls(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !matches!(c,
                '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffc}')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mojibake_is_undone() {
        for (broken, whole) in [
            ("schÃ¶n und grÃ¼n", "schön und grün"),
            ("fiancÃƒÂ©e", "fiancée"),
            ("itâ€™s ðŸ˜€", "it's 😀"),
            ("fiancÃ©e — 漢字", "fiancée — 漢字"),
            ("voilÃ\u{a0} le travail", "voilà le travail"),
            ("voilÃ le travail \u{85}", "voilà le travail …"),
            ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ] {
            assert_eq!(repair(broken, true), whole);
        }
    }

    /// Was done by inserting into the middle, a hundred thousand times.
    #[test]
    fn many_lost_spaces_take_no_time() {
        let long = "Ã x".repeat(100_000);
        assert_eq!(repair(&long, false), "à x".repeat(100_000));
    }

    #[test]
    fn whole_text_stays() {
        for text in [
            "café naïve",
            "CAFÉ… ÉTÉ",
            "Ünïcödé ñandú",
            "À la carte — déjà vu",
            "№ 5 × 3 ± 2",
            "漢字 😀",
            "ÀÉÎÕÜ",
            "Ô»",
        ] {
            assert_eq!(repair(text, true), text);
        }
    }

    #[test]
    fn variants_become_plain() {
        assert_eq!(
            repair("“ﬁne” ‘ＡＢＣ’ ｱﾞ\u{1b}[31m\u{200b}\u{feff}\r\nx", true),
            "\"fine\" 'ABC' ア\u{3099}\u{200b}\nx"
        );
    }
}
