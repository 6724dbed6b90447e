//! Owns the cutting of a file that arrives in pieces into lines.

use shared::limits::LINE_BYTES;

use super::record::Fault;

/// Cuts a file into lines, piece by piece.
#[derive(Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The number of the last whole line.
    line: u64,
}

/// A line without its end, or its fault.
pub type Line<'a> = Result<&'a str, Fault>;

impl Lines {
    /// Calls `take` with every line that ends in this piece and is not blank.
    pub fn feed(&mut self, piece: &[u8], mut take: impl FnMut(u64, Line)) {
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            // One byte more than may be is enough to know that the line is too long.
            let room = (LINE_BYTES + 1).saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                self.end(&mut take);
            }
        }
    }

    /// Calls `take` with what was left without a line end.
    pub fn end(&mut self, mut take: impl FnMut(u64, Line)) {
        self.line += 1;
        let line = std::mem::take(&mut self.begun);
        if line.len() > LINE_BYTES {
            take(self.line, Err(Fault::Long));
            return;
        }
        match std::str::from_utf8(&line) {
            Ok(text) => {
                let text = text.trim_start_matches('\u{feff}').trim();
                if !text.is_empty() {
                    take(self.line, Ok(text));
                }
            }
            Err(_) => take(self.line, Err(Fault::Encoding(""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &[u8], piece: usize) -> Vec<(u64, Result<String, Fault>)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut take = |line: u64, text: Line| found.push((line, text.map(str::to_owned)));
        for piece in file.chunks(piece) {
            lines.feed(piece, &mut take);
        }
        lines.end(&mut take);
        found
    }

    #[test]
    fn lines_are_the_same_however_the_file_is_cut() {
        let file = "\u{feff}{\"a\": 1}\r\n\n  {\"grün\": 2}\nlast".as_bytes();
        for piece in [1, 2, 5, 100] {
            assert_eq!(
                lines(file, piece),
                [
                    (1, Ok("{\"a\": 1}".into())),
                    (3, Ok("{\"grün\": 2}".into())),
                    (4, Ok("last".into())),
                ]
            );
        }
        assert_eq!(lines(b"", 1), []);
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_is_read() {
        let long = format!("{}\nb", "a".repeat(2 * LINE_BYTES));
        assert_eq!(
            lines(long.as_bytes(), 1000),
            [(1, Err(Fault::Long)), (2, Ok("b".into()))]
        );
        assert_eq!(
            lines(b"\xff\nb", 1000),
            [(1, Err(Fault::Encoding(""))), (2, Ok("b".into()))]
        );
    }
}
