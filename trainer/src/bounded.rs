//! Owns reading files that anybody may have made: no more of them than `shared::limits` allows, and that asked before
//! memory is taken.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use shared::limits::LINE_BYTES;

/// All bytes of a file that has at most so many.
///
/// # Errors
/// If it cannot be read or is larger.
pub fn bytes(path: &Path, most: usize) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let size = file.metadata().with_context(cannot)?.len();
    let too_large = |size: u64| {
        format!(
            "{} has {size} bytes; at most {most} are read",
            path.display()
        )
    };
    if size > most as u64 {
        bail!("{}", too_large(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // What is no file, such as a pipe, has no size, and a file may grow.
    let mut some = file.take(most as u64 + 1);
    some.read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > most {
        bail!("{}", too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// As [`bytes`], as text.
///
/// # Errors
/// As [`bytes`], or if it is not UTF-8.
pub fn text(path: &Path, most: usize) -> Result<String> {
    String::from_utf8(bytes(path, most)?)
        .with_context(|| format!("cannot read {}: it is not UTF-8", path.display()))
}

/// What [`line()`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A line, in the buffer.
    Line,
    /// A line that is too long; what is in the buffer is nothing.
    Long,
    /// The end.
    End,
}

/// Reads the next line, with its end, into the buffer. Of one that is too long nothing is kept.
///
/// # Errors
/// If it cannot be read.
pub fn line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Found> {
    buffer.clear();
    let most = LINE_BYTES as u64 + 1;
    let read = reader.by_ref().take(most).read_until(b'\n', buffer)?;
    if read == 0 {
        return Ok(Found::End);
    }
    if buffer.len() <= LINE_BYTES {
        return Ok(Found::Line);
    }
    let mut ended = buffer.ends_with(b"\n");
    buffer.clear();
    while !ended {
        let piece = reader.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        ended = end.is_some() || length == 0;
        reader.consume(length);
    }
    Ok(Found::Long)
}

/// The lines of a file that are not blank, with their numbers from 1 on; a byte order mark is left out.
pub struct Lines<R> {
    reader: R,
    /// What messages call the file.
    name: String,
    number: usize,
    line: Vec<u8>,
}

impl Lines<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::of(BufReader::new(file), path.display().to_string()))
    }
}

impl<R: BufRead> Lines<R> {
    /// Reads on from a reader of the file called `name`.
    pub fn of(reader: R, name: String) -> Self {
        Self {
            reader,
            name,
            number: 0,
            line: Vec::new(),
        }
    }

    /// The next line and its number; none at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or the line is too long or not UTF-8.
    pub fn next_line(&mut self) -> Result<Option<(usize, &str)>> {
        loop {
            self.number += 1;
            let at = || format!("{} line {}", self.name, self.number);
            match line(&mut self.reader, &mut self.line).with_context(at)? {
                Found::End => return Ok(None),
                Found::Long => bail!(
                    "{}: the line is longer than {LINE_BYTES} bytes, the most that are read",
                    at()
                ),
                Found::Line => {}
            }
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            if !self.line.iter().all(blank) {
                break;
            }
        }
        let line = std::str::from_utf8(&self.line)
            .with_context(|| format!("{} line {}: not UTF-8", self.name, self.number))?;
        let line = line.trim_end_matches(['\n', '\r']);
        Ok(Some((self.number, line.trim_start_matches('\u{feff}'))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(text(&path, 4).unwrap(), "four");
        let said = format!("{:#}", bytes(&path, 3).unwrap_err());
        assert!(said.contains("has 4 bytes; at most 3"), "{said}");
    }

    #[test]
    fn a_long_line_is_skipped() {
        let text = format!("a\n{}\nb", "x".repeat(3 * LINE_BYTES));
        let mut reader = BufReader::new(text.as_bytes());
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            found.push((line(&mut reader, &mut buffer).unwrap(), buffer.clone()));
            if found.last().is_some_and(|last| last.0 == Found::End) {
                break;
            }
        }
        let expected = [
            (Found::Line, b"a\n".to_vec()),
            (Found::Long, Vec::new()),
            (Found::Line, b"b".to_vec()),
            (Found::End, Vec::new()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_have_numbers_and_limits() {
        let all = |text: &[u8]| {
            let mut lines = Lines::of(text, "x".into());
            let mut found = Vec::new();
            while let Some((number, line)) = lines.next_line()? {
                found.push((number, line.to_owned()));
            }
            anyhow::Ok(found)
        };
        let found = all("\u{feff}a\r\n\n \nb".as_bytes()).unwrap();
        assert_eq!(found, [(1, "a".into()), (4, "b".into())]);
        let longest = "a".repeat(LINE_BYTES - 1);
        let long = all(format!("b\n{longest}\n").as_bytes()).unwrap();
        assert_eq!(long[1].1, longest);
        let said = format!(
            "{:#}",
            all(format!("b\n{longest}aa").as_bytes()).unwrap_err()
        );
        assert!(said.starts_with("x line 2: "), "{said}");
        let said = format!("{:#}", all(b"b\n\xff\n").unwrap_err());
        assert!(said.starts_with("x line 2: not UTF-8"), "{said}");
    }
}
