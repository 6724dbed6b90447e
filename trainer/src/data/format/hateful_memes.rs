//! Owns the layout of Hateful Memes: `train.jsonl`, `dev.jsonl`, `test_seen.jsonl` or `test_unseen.jsonl`, and `img/`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{DataSet, room};
use crate::bounded::Lines;
use crate::data::record::{Picture, Post, Split};
use crate::settings::TestFile;

/// The classes; AUROC ranks by the score of the second.
pub const CLASSES: [&str; 2] = ["not-hateful", "hateful"];

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    img: String,
    text: String,
    label: Option<u8>,
}

/// Reads all three splits; the lists lie at the root or in `data/`, the pictures beside them.
///
/// # Errors
/// If a list is missing or malformed, or has no labels.
pub(super) fn read(folder: &Path, test: TestFile) -> Result<DataSet> {
    let root = [folder.to_owned(), folder.join("data")]
        .into_iter()
        .find(|root| root.join("train.jsonl").exists())
        .with_context(|| {
            format!(
                "{} has no train.jsonl, nor has its folder data",
                folder.display()
            )
        })?;
    let mut posts = Vec::new();
    for (split, name) in [
        (Split::Train, "train.jsonl"),
        (Split::Val, "dev.jsonl"),
        (Split::Test, test.file()),
    ] {
        list(&root, name, split, &mut posts)?;
    }
    Ok(DataSet {
        posts,
        classes: CLASSES.map(String::from).to_vec(),
        notes: vec![format!(
            "tested on {}; papers differ: say which file was used",
            test.file()
        )],
    })
}

fn list(root: &Path, name: &str, split: Split, posts: &mut Vec<Post>) -> Result<()> {
    let path = root.join(name);
    let mut lines = Lines::open(&path)
        .context("the test file is chosen by data.test_file (test_seen, test_unseen)")?;
    while let Some((number, line)) = lines.next_line()? {
        room(posts)?;
        let at = || format!("{} line {number}", path.display());
        let line: Line = serde_json::from_str(line).with_context(at)?;
        let class = match line.label {
            Some(label @ (0 | 1)) => CLASSES[usize::from(label)],
            Some(other) => bail!(
                "{}: the field \"label\" is {other}; it must be 0 or 1",
                at()
            ),
            None => bail!(
                "{}: the field \"label\" is missing; the challenge's test.jsonl never had labels: get test_seen.jsonl or \
                 test_unseen.jsonl, which were published after it",
                at()
            ),
        };
        let id = match line.id {
            serde_json::Value::String(id) => id,
            serde_json::Value::Number(id) => id.to_string(),
            other => bail!(
                "{}: the field \"id\" is {other}; it must be a number or a string",
                at()
            ),
        };
        posts.push(Post {
            id,
            image: Some(Picture::File(root.join(&line.img))),
            text: Some(line.text).filter(|text| !text.trim().is_empty()),
            labels: vec![class.to_owned()],
            split,
            file: name.into(),
            line: number,
            group: None,
        });
    }
    Ok(())
}
