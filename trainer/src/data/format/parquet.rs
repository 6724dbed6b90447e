//! Owns posts in a Parquet file: `data.parquet`, a post a row.

mod guard;
mod thrift;

use std::fs::File;
use std::panic::catch_unwind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::labels::LabelField;
use crate::data::record::{Picture, Post, Split};

/// The file's name in a data folder.
pub const FILE: &str = "data.parquet";

/// Reads all posts: columns `id` (string or whole number), `image` (bytes of a picture, or a path in the folder; also
/// the record of `bytes` and `path` that Hugging Face's datasets write), `text`, `label` or `labels` (a list of strings)
/// and `split`, all optional but one of image and text.
///
/// # Errors
/// If the file cannot be read, a column has the wrong type, or a post has neither an image nor a text.
pub(super) fn read(folder: &Path, label: &LabelField) -> Result<Vec<Post>> {
    let path = folder.join(FILE);
    // What the guard below does not know of, the library may still take for impossible.
    catch_unwind(|| rows(&path, folder, label)).unwrap_or_else(|_| {
        bail!(
            "{} is damaged, and the library that reads Parquet gave up; write it again",
            path.display()
        )
    })
}

fn rows(path: &Path, folder: &Path, label: &LabelField) -> Result<Vec<Post>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    guard::footer(&file).with_context(|| format!("{} is no Parquet file", path.display()))?;
    let reader = SerializedFileReader::new(file.try_clone()?)
        .with_context(|| format!("{} is no Parquet file", path.display()))?;
    guard::check(&file, reader.metadata()).with_context(|| path.display().to_string())?;
    let rows = reader
        .get_row_iter(None)
        .with_context(|| path.display().to_string())?;
    rows.enumerate()
        .map(|(place, row)| {
            let at = || format!("{} row {}", path.display(), place + 1);
            let row = row.with_context(at)?;
            post(folder, &row, label, place + 1).with_context(at)
        })
        .collect()
}

fn post(folder: &Path, row: &Row, label: &LabelField, number: usize) -> Result<Post> {
    let (mut fields, mut image) = (Map::new(), None);
    for (name, field) in row.get_column_iter() {
        if name == "image" {
            image = picture(folder, field)?;
            continue;
        }
        let wanted = ["id", "text", "label", "labels", "split"].contains(&name.as_str());
        if wanted || label.0.as_deref() == Some(name) {
            fields.insert(name.clone(), value(name, field)?);
        }
    }
    let text_of = |name: &str| -> Result<Option<String>> {
        match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                Ok(Some(text.clone()).filter(|text| !text.trim().is_empty()))
            }
            Some(Value::Number(number)) if name == "id" => Ok(Some(number.to_string())),
            Some(_) => bail!("the column {name:?} must hold strings"),
        }
    };
    let id = text_of("id")?.unwrap_or_else(|| number.to_string());
    let text = text_of("text")?;
    if image.is_none() && text.is_none() {
        bail!("the post {id:?} has neither an image nor a text; give at least one");
    }
    let split = match text_of("split")? {
        None => Split::Train,
        Some(name) => name
            .parse()
            .map_err(|error| anyhow::anyhow!("the column \"split\": {error}"))?,
    };
    Ok(Post {
        labels: label.of(&fields)?,
        id,
        image,
        text,
        split,
        file: FILE.into(),
        line: number,
        group: None,
    })
}

/// Bytes, a path, or a record of both.
fn picture(folder: &Path, field: &Field) -> Result<Option<Picture>> {
    Ok(match field {
        Field::Null => None,
        Field::Bytes(bytes) => Some(Picture::Bytes(bytes.data().into())),
        Field::Str(path) if path.trim().is_empty() => None,
        Field::Str(path) => Some(Picture::File(folder.join(path))),
        Field::Group(record) => {
            let mut found = None;
            for (name, field) in record.get_column_iter() {
                match (name.as_str(), field) {
                    ("bytes", Field::Bytes(bytes)) => {
                        found = Some(Picture::Bytes(bytes.data().into()))
                    }
                    ("path", Field::Str(path)) if found.is_none() => {
                        found = Some(Picture::File(folder.join(path)));
                    }
                    _ => {}
                }
            }
            found
        }
        other => bail!("the column \"image\" must hold bytes or a path, but has {other}"),
    })
}

/// A field as the JSON it would be.
fn value(name: &str, field: &Field) -> Result<Value> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Str(value) => Value::String(value.clone()),
        Field::ListInternal(list) => {
            let items = list.elements().iter().map(|item| value(name, item));
            Value::Array(items.collect::<Result<_>>()?)
        }
        other => bail!("the column {name:?} must hold strings or whole numbers, but has {other}"),
    })
}
