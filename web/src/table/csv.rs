//! Owns reading posts from CSV that arrives in pieces: the separator, the header, records over several lines.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use shared::limits::{COLUMNS, LINE_BYTES};

use super::record::{FIELDS, Fault, Flaw, Record};

/// What programs separate fields by; some write semicolons where the comma is the decimal sign.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];
/// The mark that some programs write before UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a CSV file piece by piece.
pub struct Csv {
    reader: Option<Reader>,
    /// What came before the header was whole: its separator is not known yet.
    before: Vec<u8>,
    /// For every column, its place in [`FIELDS`]; empty until the header is read.
    columns: Vec<Option<usize>>,
    /// The bytes of the record being read, without quotes, and where its fields end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    filled: usize,
    fields: usize,
    /// The record being read is too long: it is read to its end, but not kept.
    long: bool,
    /// A byte of the record being read was seen.
    begun: bool,
    /// Where it begins.
    line: u64,
    /// Line ends between records; csv-core counts those within.
    between: u64,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            reader: None,
            before: Vec::new(),
            columns: Vec::new(),
            bytes: vec![0; 1 << 12],
            ends: vec![0; 32],
            filled: 0,
            fields: 0,
            long: false,
            begun: false,
            line: 1,
            between: 0,
        }
    }
}

impl Csv {
    /// Reads on; the records that end in this piece are appended.
    ///
    /// # Errors
    /// If the header names no column that makes a post.
    pub fn feed(&mut self, piece: &[u8], records: &mut Vec<Record>) -> Result<(), Flaw> {
        if self.reader.is_some() {
            return self.read(piece, records);
        }
        self.before.extend_from_slice(piece);
        if header(&self.before).contains(&b'\n') || self.before.len() > LINE_BYTES {
            self.begin(records)?;
        }
        Ok(())
    }

    /// Reads what was left without a line end.
    ///
    /// # Errors
    /// As [`Csv::feed`].
    pub fn end(&mut self, records: &mut Vec<Record>) -> Result<(), Flaw> {
        if self.reader.is_none() {
            self.begin(records)?;
        }
        self.read(&[], records)?;
        if self.columns.is_empty() {
            Err(Flaw::Header)
        } else {
            Ok(())
        }
    }

    fn begin(&mut self, records: &mut Vec<Record>) -> Result<(), Flaw> {
        let before = std::mem::take(&mut self.before);
        let text = before.strip_prefix(MARK).unwrap_or(&before);
        let separator = separator(text);
        self.reader = Some(ReaderBuilder::new().delimiter(separator).build());
        if text.is_empty() {
            return Ok(());
        }
        self.read(text, records)
    }

    fn read(&mut self, mut piece: &[u8], records: &mut Vec<Record>) -> Result<(), Flaw> {
        // An empty piece is the end, for csv-core, so a piece that has become empty must not be given to it.
        let last = piece.is_empty();
        while last || !piece.is_empty() {
            let Some(reader) = &mut self.reader else {
                break;
            };
            if !self.begun {
                while let Some((b'\r' | b'\n', rest)) = piece.split_first() {
                    self.between += u64::from(piece[0] == b'\n');
                    piece = rest;
                }
                if piece.is_empty() && !last {
                    break;
                }
                self.begun = true;
                self.line = reader.line() + self.between;
            }
            if self.long {
                // Nothing of it is kept, so its bytes may overwrite each other.
                (self.filled, self.fields) = (0, 0);
            }
            let (result, read, filled, fields) = reader.read_record(
                piece,
                &mut self.bytes[self.filled..],
                &mut self.ends[self.fields..],
            );
            piece = &piece[read..];
            self.filled += filled;
            self.fields += fields;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull => {
                    self.long |= self.bytes.len() >= LINE_BYTES;
                    if !self.long {
                        self.bytes.resize(self.bytes.len() * 2, 0);
                    }
                }
                ReadRecordResult::OutputEndsFull => {
                    self.long |= self.ends.len() >= COLUMNS;
                    if !self.long {
                        self.ends.resize(self.ends.len() * 2, 0);
                    }
                }
                ReadRecordResult::Record => {
                    self.record(records)?;
                    (self.filled, self.fields) = (0, 0);
                    (self.long, self.begun) = (false, false);
                }
            }
        }
        Ok(())
    }

    /// A record is whole: the header, or a post.
    fn record(&mut self, records: &mut Vec<Record>) -> Result<(), Flaw> {
        let line = self.line;
        if self.columns.is_empty() {
            if self.long {
                return Err(Flaw::Header);
            }
            self.columns = (0..self.fields)
                .map(|field| {
                    let name = self.field(field).trim_ascii().to_ascii_lowercase();
                    FIELDS.iter().position(|known| known.as_bytes() == name)
                })
                .collect();
            let makes_posts = self
                .columns
                .iter()
                .flatten()
                .any(|field| matches!(FIELDS[*field], "image" | "text"));
            return if makes_posts {
                Ok(())
            } else {
                Err(Flaw::Header)
            };
        }
        records.push(if self.long {
            Record::faulty(line, Fault::Long)
        } else if self.fields == self.columns.len() {
            self.post(line)
        } else {
            let (found, expected) = (self.fields, self.columns.len());
            Record::faulty(line, Fault::Fields { found, expected })
        });
        Ok(())
    }

    fn post(&self, line: u64) -> Record {
        let mut record = Record {
            line,
            ..Record::default()
        };
        for (place, field) in self.columns.iter().enumerate() {
            let Some(field) = *field else { continue };
            match std::str::from_utf8(self.field(place)) {
                Ok(value) => record.set(field, value),
                Err(_) => record.fault = Some(Fault::Encoding(FIELDS[field])),
            }
        }
        record
    }

    fn field(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[place]]
    }
}

/// The separator that occurs most in the first line.
fn separator(text: &[u8]) -> u8 {
    let mut lines = header(text).split(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let count = |separator: u8| header.iter().filter(|byte| **byte == separator).count();
    // The first of the most frequent, so the comma where there is none at all.
    let most = SEPARATORS.map(count).into_iter().max().unwrap_or_default();
    SEPARATORS
        .into_iter()
        .find(|separator| count(*separator) == most)
        .unwrap_or(b',')
}

/// What a file begins with, without a mark and empty lines before it.
fn header(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let start = text.iter().position(|byte| !b"\r\n".contains(byte));
    &text[start.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: whether the mark was seen depended on the pieces.
    #[test]
    fn empty_lines_before_the_header_change_nothing() {
        for file in [
            "\n\r\u{feff}text;labels\na;b\n",
            "\u{feff}\n\ntext;labels\na;b\n",
            "\r\n\r\ntext;labels\r\na;b",
        ] {
            let whole = read(file.as_bytes(), file.len()).unwrap();
            assert_eq!(whole.len(), 1, "{file:?}");
            assert_eq!((whole[0].text.as_str(), whole[0].labels.len()), ("a", 1));
            for piece in 1..file.len() {
                assert_eq!(read(file.as_bytes(), piece).unwrap(), whole, "{file:?}");
            }
        }
    }

    /// The records of a file, cut into pieces of this many bytes.
    fn read(file: &[u8], piece: usize) -> Result<Vec<Record>, Flaw> {
        let (mut csv, mut records) = (Csv::default(), Vec::new());
        for piece in file.chunks(piece) {
            csv.feed(piece, &mut records)?;
        }
        csv.end(&mut records)?;
        Ok(records)
    }

    fn post(line: u64, id: &str, image: &str, text: &str, labels: &[&str]) -> Record {
        Record {
            line,
            id: id.into(),
            image: image.into(),
            text: text.into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            fault: None,
        }
    }

    #[test]
    fn quotes_line_ends_and_marks_are_read_however_the_file_is_cut() {
        let file = "\u{feff}id,extra,text,image,labels\r\n\
            1,x,\"red, \"\"ripe\"\" apple\",a.png,fruit; food\r\n\
            \r\n\
            2,y,\"over\ntwo lines\",,\n\
            3,,  ,  b.png ,\"\"\n\
            4,,grün,,end";
        let expected = [
            post(2, "1", "a.png", "red, \"ripe\" apple", &["fruit", "food"]),
            post(4, "2", "", "over\ntwo lines", &[]),
            post(6, "3", "b.png", "", &[]),
            post(7, "4", "", "grün", &["end"]),
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read(file.as_bytes(), piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn other_separators_are_seen() {
        for file in ["id;text\n1;a, b\n", "id\ttext\n1\ta, b\n"] {
            assert_eq!(
                read(file.as_bytes(), 100).unwrap(),
                [post(2, "1", "", "a, b", &[])]
            );
        }
        assert_eq!(
            read(b"text\na\n", 100).unwrap(),
            [post(2, "", "", "a", &[])]
        );
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_is_read() {
        let long = format!("text,id\n\"{}\",1\nb,2\n", "a".repeat(3 * LINE_BYTES));
        assert_eq!(
            read(long.as_bytes(), 60_000).unwrap(),
            [Record::faulty(2, Fault::Long), post(3, "2", "", "b", &[])]
        );
        let fault = |file: &[u8]| read(file, 100).unwrap()[0].fault.clone();
        assert_eq!(
            fault(b"id,text\n1,a,b\n"),
            Some(Fault::Fields {
                found: 3,
                expected: 2
            })
        );
        assert_eq!(fault(b"text\ngr\xfcn\n"), Some(Fault::Encoding("text")));
        let wide = format!("text\n{}\n", ",".repeat(3 * COLUMNS));
        assert_eq!(fault(wide.as_bytes()), Some(Fault::Long));
    }

    #[test]
    fn a_file_that_is_no_table_of_posts_is_refused() {
        for file in ["", "\u{feff}", "name,price\nsoup,3\n", "a\0b"] {
            assert_eq!(read(file.as_bytes(), 5), Err(Flaw::Header), "{file:?}");
        }
        assert_eq!(read(b"text\n", 5).unwrap(), []);
    }
}
