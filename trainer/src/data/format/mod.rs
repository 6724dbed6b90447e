//! Owns the layouts that posts lie in on disk: one file each, all giving the same posts and the order of the classes.

pub mod columns;
pub mod counts;
pub mod food101;
pub mod hateful_memes;
pub mod jsonl;
pub mod labels;
pub mod mm_imdb;
pub mod parquet;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use shared::config::Task;
use shared::limits::{DATA_SET_JSON_BYTES, DATA_SET_POSTS};

use super::record::{self, Post};
use crate::bounded;
use crate::settings::{DataSettings, Format};
use labels::LabelField;

/// The posts of a data set.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// In the order of the files.
    pub posts: Vec<Post>,
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
    /// What the reader left out or took otherwise than a user might think, a sentence each.
    pub notes: Vec<String>,
}

impl DataSet {
    /// With the classes that occur, sorted.
    fn sorted(posts: Vec<Post>) -> Self {
        Self {
            classes: record::classes(&posts),
            posts,
            notes: Vec::new(),
        }
    }
}

/// Reads the data set in `folder` as the settings say.
///
/// # Errors
/// If a file is missing or malformed (the message names file, line and field), an id is used twice, or a post of a
/// multi-class task does not have exactly one label.
pub fn read(folder: &Path, settings: &DataSettings) -> Result<DataSet> {
    let label = LabelField(settings.label.clone());
    let mut data = match settings.format {
        Format::Jsonl | Format::Synthetic => DataSet::sorted(jsonl::read_with(folder, &label)?),
        Format::Csv => DataSet::sorted(columns::read(folder, &label)?),
        Format::Parquet => DataSet::sorted(parquet::read(folder, &label)?),
        Format::MmImdb => mm_imdb::read(folder, settings.plots)?,
        Format::Food101 => food101::read(folder)?,
        Format::HatefulMemes => hateful_memes::read(folder, settings.test_file)?,
    };
    if settings.min_posts > 0 {
        data.posts = labels::without_rare(data.posts, settings.min_posts);
        let left = record::classes(&data.posts);
        data.classes.retain(|class| left.contains(class));
    }
    unique(&data.posts)?;
    Ok(data)
}

/// Says which post of a multi-class task has not exactly one label, if one has not.
///
/// # Errors
/// If there is such a post among `posts`.
pub fn check_task<'a>(posts: impl IntoIterator<Item = &'a Post>, task: Task) -> Result<()> {
    if task == Task::MultiLabel {
        return Ok(());
    }
    match posts.into_iter().find(|post| post.labels.len() != 1) {
        None => Ok(()),
        Some(post) => bail!(
            "{} has {} labels, but a multi_class task needs exactly one (model.task = \"multi_label\" takes any number)",
            post.place(),
            post.labels.len()
        ),
    }
}

/// Every id once, whichever split it is in.
fn unique(posts: &[Post]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Post> = BTreeMap::new();
    for post in posts {
        if let Some(first) = seen.insert(&post.id, post) {
            bail!(
                "{}: the id was used in {} line {} already",
                post.place(),
                first.file,
                first.line
            );
        }
    }
    Ok(())
}

/// Refuses one post more than a data set may have.
fn room(posts: &[Post]) -> Result<()> {
    if posts.len() == DATA_SET_POSTS {
        bail!("a data set has at most {DATA_SET_POSTS} posts");
    }
    Ok(())
}

/// A JSON file of a data set.
fn json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let bytes = bounded::bytes(path, DATA_SET_JSON_BYTES).context(what.to_owned())?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}, {what}", path.display()))
}
