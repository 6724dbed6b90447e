//! Owns posts in a CSV file: `data.csv` with a header, a post a line.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use shared::limits::{COLUMNS, LINE_BYTES};

use super::labels::LabelField;
use super::room;
use crate::data::record::{Picture, Post, Split};

/// The file's name in a data folder.
pub const FILE: &str = "data.csv";
/// Between the classes of a post in the column `labels`.
const BETWEEN: char = ';';

/// Reads all posts: columns `id`, `image` (a path in the folder), `text`, `label` or `labels` (separated by `;`) and
/// `split`, in any order; other columns are ignored.
///
/// # Errors
/// If the file cannot be read, is not UTF-8, a line has another number of fields than the header, or a post has neither
/// an image nor a text.
pub(super) fn read(folder: &Path, label: &LabelField) -> Result<Vec<Post>> {
    let path = folder.join(FILE);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let left = Rc::new(Cell::new(STRETCH));
    let mut csv = csv::Reader::from_reader(Metered {
        file,
        left: left.clone(),
    });
    let header = csv
        .headers()
        .with_context(|| format!("{} line 1", path.display()))?
        .clone();
    if header.len() > COLUMNS {
        let count = header.len();
        bail!(
            "{} has {count} columns; at most {COLUMNS} are read",
            path.display()
        );
    }
    let mut posts = Vec::new();
    let mut row = csv::ByteRecord::new();
    loop {
        left.set(STRETCH);
        let more = csv
            .read_byte_record(&mut row)
            .with_context(|| path.display().to_string())?;
        if !more {
            return Ok(posts);
        }
        room(&posts)?;
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let mut fields = Map::new();
        for (name, value) in header.iter().zip(&row) {
            let Ok(value) = std::str::from_utf8(value) else {
                bail!(
                    "{} line {line}, column {name:?}: the text is not UTF-8",
                    path.display()
                );
            };
            if value.trim().is_empty() {
                continue;
            }
            let value = if name == "labels" || label.0.as_deref() == Some(name) {
                let parts = value.split(BETWEEN).map(|part| part.trim().to_owned());
                Value::Array(parts.map(Value::String).collect())
            } else {
                Value::String(value.to_owned())
            };
            fields.insert(name.to_owned(), value);
        }
        let at = || format!("{} line {line}", path.display());
        posts.push(post(folder, &fields, label, line).with_context(at)?);
    }
}

/// What may be read for one line. The reader of CSV reads ahead, and keeps a line in memory until it ends: without a
/// limit one whose quote is not closed would be as long as the file.
const STRETCH: usize = LINE_BYTES + (64 << 10);

/// A file that gives no more than what is left.
struct Metered {
    file: File,
    left: Rc<Cell<usize>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "a line is longer than {LINE_BYTES} bytes, the most that are read; is a quote not closed?"
            )));
        }
        let read = self.file.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

/// A post from its named fields.
fn post(
    folder: &Path,
    fields: &Map<String, Value>,
    label: &LabelField,
    line: usize,
) -> Result<Post> {
    let field = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = field("id").unwrap_or_else(|| line.to_string());
    let image = field("image").map(|path| Picture::File(folder.join(path)));
    let text = field("text");
    if image.is_none() && text.is_none() {
        bail!("the post {id:?} has neither an image nor a text; give at least one");
    }
    let split = match field("split") {
        None => Split::Train,
        Some(name) => name
            .parse()
            .map_err(|error| anyhow::anyhow!("the column \"split\": {error}"))?,
    };
    Ok(Post {
        labels: label.of(fields)?,
        id,
        image,
        text,
        split,
        file: FILE.into(),
        line,
        group: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Was read into memory to the file's end.
    #[test]
    fn a_quote_that_is_not_closed_ends() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: String| {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            read(folder.path(), &LabelField::default()).map_err(|e| format!("{e:#}"))
        };
        let long = "x".repeat(2 * LINE_BYTES);
        let error = said(format!("id,text\n1,\"{long}")).unwrap_err();
        assert!(error.contains("quote not closed"), "{error}");
        let line = format!("1,{}\n", "x".repeat(1000));
        let many = said(format!("id,text\n{}", line.repeat(1000))).unwrap();
        assert_eq!(many.len(), 1000);
        let error = said(format!("{}text\n", "a,".repeat(COLUMNS))).unwrap_err();
        assert!(error.contains("1025 columns"), "{error}");
    }
}
