//! Owns where a post's classes are in a record of named fields, and leaving rare classes out.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::jsonl::kind;
use crate::data::record::Post;

/// The field that holds the classes: `label` or `labels`, unless the settings name another.
#[derive(Clone, Debug, Default)]
pub struct LabelField(pub Option<String>);

impl LabelField {
    /// The classes of a record.
    ///
    /// # Errors
    /// If the field has the wrong kind.
    pub(super) fn of(&self, fields: &Map<String, Value>) -> Result<Vec<String>> {
        let Some(name) = &self.0 else {
            return usual(fields);
        };
        match fields.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(labels)) => list(name, labels),
            Some(label) => Ok(vec![one(name, label)?]),
        }
    }
}

/// `label` (a string or a number) or `labels` (a list of them), not both.
fn usual(fields: &Map<String, Value>) -> Result<Vec<String>> {
    let present = |field: &str| fields.get(field).filter(|value| !value.is_null());
    match (present("label"), present("labels")) {
        (None, None) => Ok(Vec::new()),
        (Some(_), Some(_)) => bail!("the post has both \"label\" and \"labels\"; use one of them"),
        (Some(label), None) => Ok(vec![one("label", label)?]),
        (None, Some(Value::Array(labels))) => list("labels", labels),
        (None, Some(other)) => bail!(
            "the field \"labels\" must be a list, but is {}",
            kind(other)
        ),
    }
}

fn list(field: &str, labels: &[Value]) -> Result<Vec<String>> {
    let mut labels: Vec<String> = labels
        .iter()
        .map(|label| one(field, label))
        .collect::<Result<_>>()?;
    labels.sort();
    labels.dedup();
    Ok(labels)
}

fn one(field: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(label) => Ok(label.clone()),
        Value::Number(label) => Ok(label.to_string()),
        Value::Bool(label) => Ok(label.to_string()),
        other => bail!(
            "the field {field:?} must hold strings, but has {}",
            kind(other)
        ),
    }
}

/// Takes away the classes that fewer than `least` posts have, and the posts that are left without any; a post that had
/// none stays.
pub(super) fn without_rare(posts: Vec<Post>, least: usize) -> Vec<Post> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for label in posts.iter().flat_map(|post| &post.labels) {
        *counts.entry(label.clone()).or_default() += 1;
    }
    posts
        .into_iter()
        .filter_map(|mut post| {
            let had = !post.labels.is_empty();
            post.labels.retain(|label| counts[label] >= least);
            (!had || !post.labels.is_empty()).then_some(post)
        })
        .collect()
}
