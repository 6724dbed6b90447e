//! Owns reading `data.jsonl`: one post a line, with errors that name the file, the line and the field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::labels::LabelField;
use super::room;
use crate::bounded::Lines;
use crate::data::record::{Picture, Post, Split};

/// The file's name in a data folder.
pub const FILE: &str = "data.jsonl";
/// The folder of pictures named by their post's id.
pub const IMAGES: &str = "images";
/// Endings looked for there, in this order.
const ENDINGS: [&str; 5] = ["jpg", "png", "jpeg", "webp", "gif"];

/// Reads all posts of a data folder, in the order of their lines.
///
/// # Errors
/// If the file cannot be read, a line is no JSON object, a field has the wrong kind, a post has neither an image nor
/// a text, or two posts have the same id.
pub fn read(folder: &Path) -> Result<Vec<Post>> {
    read_with(folder, &LabelField::default())
}

/// As [`read`], with the classes in a field of another name.
///
/// # Errors
/// As [`read`].
pub fn read_with(folder: &Path, label: &LabelField) -> Result<Vec<Post>> {
    let path = folder.join(FILE);
    let mut lines =
        Lines::open(&path).with_context(|| format!("a data folder has a {FILE} (docs/data.md)"))?;
    let mut posts = Vec::new();
    while let Some((number, line)) = lines.next_line()? {
        room(&posts)?;
        let at = || format!("{} line {number}", path.display());
        posts.push(parse_line(line, number, folder, label).with_context(at)?);
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for post in &posts {
        if let Some(first) = lines.insert(&post.id, post.line) {
            bail!(
                "{} line {}: the id {:?} was used in line {first} already",
                path.display(),
                post.line,
                post.id
            );
        }
    }
    Ok(posts)
}

/// Reads one line.
///
/// # Errors
/// If it is no JSON object, a field has the wrong kind, or there is neither an image nor a text.
fn parse_line(line: &str, number: usize, folder: &Path, label: &LabelField) -> Result<Post> {
    let value: Value = serde_json::from_str(line)
        .map_err(|e| anyhow::anyhow!("no valid JSON at column {}: {e}", e.column()))?;
    let Value::Object(fields) = value else {
        bail!(
            "a post is a JSON object {{...}}, but this is {}",
            kind(&value)
        );
    };
    let id = match fields.get("id") {
        None | Some(Value::Null) => number.to_string(),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => bail!("the field \"id\" must be a string, but is {}", kind(other)),
    };
    let text = string(&fields, "text")?.filter(|text| !text.trim().is_empty());
    let image = match string(&fields, "image")?.filter(|path| !path.trim().is_empty()) {
        Some(path) => Some(Picture::File(folder.join(path))),
        None => image_by_id(folder, &id).map(Picture::File),
    };
    if image.is_none() && text.is_none() {
        bail!("the post {id:?} has neither an image nor a text; give at least one");
    }
    let split = match string(&fields, "split")? {
        None => Split::Train,
        Some(name) => name
            .parse()
            .map_err(|e| anyhow::anyhow!("the field \"split\": {e}"))?,
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

fn string(fields: &Map<String, Value>, field: &str) -> Result<Option<String>> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(other) => bail!(
            "the field {field:?} must be a string, but is {}",
            kind(other)
        ),
    }
}

/// `images/{id}.jpg`, `.png`, ... if there is one. Ids that would lead out of the folder have none.
fn image_by_id(folder: &Path, id: &str) -> Option<PathBuf> {
    if id.contains("..") || Path::new(id).is_absolute() {
        return None;
    }
    let images = folder.join(IMAGES);
    ENDINGS
        .iter()
        .map(|ending| images.join(format!("{id}.{ending}")))
        .find(|path| path.is_file())
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_are_read_with_what_they_have() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(IMAGES)).unwrap();
        std::fs::write(folder.path().join("images/7.png"), "").unwrap();
        let text = "{\"id\":7,\"label\":\"soup\",\"split\":\"dev\",\"style\":\"x\"}\n\n\
                    {\"id\":\"b\",\"text\":\"hot\",\"labels\":[\"tea\",\"drink\"],\"image\":\"p/q.jpg\"}\n\
                    {\"text\":\"cold\",\"image\":null}\n";
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let posts = read(folder.path()).unwrap();
        assert_eq!(posts.len(), 3);
        let file = |name: &str| Some(Picture::File(folder.path().join(name)));
        assert_eq!(posts[0].image, file("images/7.png"));
        assert_eq!(
            (posts[0].split, posts[0].text.as_deref()),
            (Split::Val, None)
        );
        assert_eq!(posts[1].image, file("p/q.jpg"));
        assert_eq!(posts[1].labels, ["drink", "tea"]);
        assert_eq!((posts[2].id.as_str(), posts[2].line), ("4", 4));
        assert!(posts[2].image.is_none() && posts[2].labels.is_empty());
    }

    #[test]
    fn every_mistake_names_line_and_field() {
        let folder = tempfile::tempdir().unwrap();
        for (line, parts) in [
            (
                "{\"id\":\"x\"}",
                vec!["line 2", "\"x\"", "neither an image nor a text"],
            ),
            ("{\"id\":\"x\",\"text\":\"  \"}", vec!["line 2", "neither"]),
            (
                "{\"id\":\"x\",\"text\":3}",
                vec!["line 2", "\"text\"", "a number"],
            ),
            (
                "{\"text\":\"t\",\"labels\":\"a\"}",
                vec!["line 2", "\"labels\"", "a list"],
            ),
            (
                "{\"text\":\"t\",\"label\":\"a\",\"labels\":[]}",
                vec!["line 2", "both"],
            ),
            (
                "{\"text\":\"t\",\"split\":\"tset\"}",
                vec!["line 2", "\"split\"", "\"tset\""],
            ),
            ("{\"text\":", vec!["line 2", "column"]),
            ("[]", vec!["line 2", "a list"]),
            (
                "{\"id\":\"a\",\"text\":\"t\"}",
                vec!["line 2", "line 1", "\"a\""],
            ),
        ] {
            let text = format!("{{\"id\":\"a\",\"text\":\"t\"}}\n{line}\n");
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = format!("{:#}", read(folder.path()).unwrap_err());
            for part in parts.into_iter().chain([FILE]) {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        }
    }

    #[test]
    fn an_id_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret.png"), "").unwrap();
        assert!(
            parse_line(
                r#"{"id":"../secret"}"#,
                1,
                folder.path(),
                &LabelField::default()
            )
            .is_err()
        );
    }
}
