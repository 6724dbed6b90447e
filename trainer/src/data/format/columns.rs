//! Owns posts in a CSV file: `data.csv` with a header, a post a line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::labels::LabelField;
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
    let mut csv =
        csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = csv
        .headers()
        .with_context(|| format!("{} line 1", path.display()))?
        .clone();
    let mut posts = Vec::new();
    let mut row = csv::ByteRecord::new();
    loop {
        let more = csv
            .read_byte_record(&mut row)
            .with_context(|| path.display().to_string())?;
        if !more {
            return Ok(posts);
        }
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
