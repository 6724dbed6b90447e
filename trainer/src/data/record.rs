//! Owns one post as it lies on disk, and what a set of posts has in common: its classes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use shared::Case;
use shared::limits::PICTURE_BYTES;

pub use super::split::Split;
use crate::bounded;

/// A post: a picture, a text, or both, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its name, unique in its data set.
    pub id: String,
    /// The picture.
    pub image: Option<Picture>,
    /// The words; never blank.
    pub text: Option<String>,
    /// Its classes; one for multi-class tasks. Empty if not known.
    pub labels: Vec<String>,
    /// What it is for.
    pub split: Split,
    /// The file it was read from, for messages.
    pub file: Arc<str>,
    /// The line or row there, counted from 1.
    pub line: usize,
    /// What its missing code belongs to, if several posts share one: a film of many plots.
    pub group: Option<String>,
}

/// A post's picture, undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// A file.
    File(PathBuf),
    /// The bytes of one.
    Bytes(Arc<[u8]>),
}

impl Picture {
    /// The bytes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::File(path) => bounded::bytes(path, PICTURE_BYTES)
                .map(Cow::Owned)
                .context("the picture cannot be read"),
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes(bytes) => write!(f, "picture of {} bytes", bytes.len()),
        }
    }
}

impl Post {
    /// Where it is, for messages: `data.jsonl line 3, post "7"`.
    pub fn place(&self) -> String {
        format!("{} line {}, post {:?}", self.file, self.line, self.id)
    }

    /// Which modalities the post has.
    ///
    /// # Errors
    /// If it has none.
    pub fn case(&self) -> shared::Result<Case> {
        Case::of(self.image.is_some(), self.text.is_some())
    }
}

/// All classes that occur, sorted: their order is the order of the logits.
pub fn classes(posts: &[Post]) -> Vec<String> {
    let classes: BTreeSet<&String> = posts.iter().flat_map(|post| &post.labels).collect();
    classes.into_iter().cloned().collect()
}

/// The posts of one split, in their order; at most `limit` of them, taken evenly from the whole split so that a
/// limited set still has all classes.
pub fn of_split(posts: &[Post], split: Split, limit: Option<usize>) -> Vec<Post> {
    let all: Vec<&Post> = posts.iter().filter(|post| post.split == split).collect();
    let count = limit.unwrap_or(all.len()).min(all.len());
    (0..count)
        .map(|i| all[i * all.len() / count].clone())
        .collect()
}

/// The row of the missing table that each post of a split has: posts of one group share a row.
pub fn table_rows(posts: &[Post]) -> Vec<usize> {
    let mut rows = BTreeMap::new();
    let mut next = 0;
    let mut new = || {
        next += 1;
        next - 1
    };
    posts
        .iter()
        .map(|post| match &post.group {
            Some(group) => *rows.entry(group).or_insert_with(&mut new),
            None => new(),
        })
        .collect()
}

/// How many rows the missing table of a split has.
pub fn rows(posts: &[Post]) -> usize {
    table_rows(posts)
        .into_iter()
        .max()
        .map_or(0, |last| last + 1)
}

/// Each post's classes as indices into `classes`.
///
/// # Errors
/// If a post has a label that is not among the classes; the message names the post, the label and where it is.
pub fn indices(posts: &[Post], classes: &[String]) -> Result<Vec<Vec<usize>>> {
    posts
        .iter()
        .map(|post| {
            let mut indices = Vec::with_capacity(post.labels.len());
            for label in &post.labels {
                match classes.iter().position(|class| class == label) {
                    Some(index) => indices.push(index),
                    None => bail!(
                        "{}: the label {label:?} is none of the {} classes of the model",
                        post.place(),
                        classes.len()
                    ),
                }
            }
            indices.sort_unstable();
            Ok(indices)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(line: usize, label: &str) -> Post {
        Post {
            id: line.to_string(),
            image: None,
            text: Some("words".into()),
            labels: vec![label.into()],
            split: Split::Train,
            file: "data.jsonl".into(),
            line,
            group: None,
        }
    }

    #[test]
    fn classes_are_sorted_and_labels_numbered() {
        let posts = [post(1, "pear"), post(2, "apple"), post(3, "pear")];
        let classes = classes(&posts);
        assert_eq!(classes, ["apple", "pear"]);
        assert_eq!(indices(&posts, &classes).unwrap(), [[1], [0], [1]]);
        let error = indices(&posts, &classes[..1]).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("\"pear\""),
            "{error}"
        );
    }

    #[test]
    fn posts_of_a_group_share_a_row() {
        let of = |group: Option<&str>| Post {
            group: group.map(String::from),
            ..post(1, "x")
        };
        let posts = [
            of(Some("b")),
            of(None),
            of(Some("a")),
            of(Some("b")),
            of(None),
        ];
        assert_eq!(table_rows(&posts), [0, 1, 2, 0, 3]);
        assert_eq!((rows(&posts), rows(&[])), (4, 0));
    }

    #[test]
    fn a_limit_takes_from_everywhere() {
        let posts: Vec<Post> = (0..10).map(|line| post(line, "x")).collect();
        let lines: Vec<usize> = of_split(&posts, Split::Train, Some(4))
            .iter()
            .map(|post| post.line)
            .collect();
        assert_eq!(lines, [0, 2, 5, 7]);
        assert_eq!(of_split(&posts, Split::Train, Some(40)).len(), 10);
        assert!(of_split(&posts, Split::Val, Some(3)).is_empty());
    }
}
