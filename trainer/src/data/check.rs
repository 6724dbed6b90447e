//! Owns looking a data folder over before anything is trained on it: counts, damage, leaks between splits, balance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::Case;
use shared::preprocess::image::ImagePreprocessor;

use super::format::{self, DataSet};
use super::record::{self, Post, Split};
use crate::settings::DataSettings;

/// At most so many examples of one problem are printed; the counts are complete.
const EXAMPLES: usize = 10;

/// What a data folder is like.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Posts by split and case.
    pub posts: BTreeMap<Split, BTreeMap<Case, usize>>,
    /// Posts without a label.
    pub unlabelled: usize,
    /// Posts by class, then by split.
    pub labels: BTreeMap<String, BTreeMap<Split, usize>>,
    /// What the reader left out or took otherwise than one might think.
    pub notes: Vec<String>,
    /// What differs from the published sizes of the data set.
    pub differences: Vec<String>,
    /// Pictures that cannot be read, with line and file.
    pub unreadable: Vec<String>,
    /// Pictures with the same bytes in more than one split.
    pub shared_images: Vec<Shared>,
    /// Texts that are the same but for case, spaces and marks in more than one split.
    pub shared_texts: Vec<Shared>,
}

/// The same thing in more than one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// One of the posts' ids, by split.
    pub ids: BTreeMap<Split, String>,
    /// How many posts have it.
    pub posts: usize,
}

/// Looks a data folder over.
///
/// # Errors
/// If the lists themselves cannot be used ([`format::read`]): a bad line, an id used twice.
pub fn check(folder: &Path, settings: &DataSettings) -> Result<Report> {
    let DataSet {
        posts,
        classes,
        notes,
    } = format::read(folder, settings)?;
    let (layout, test) = (settings.format, settings.test_file);
    let mut report = Report {
        differences: format::counts::differences(layout, test, &posts, classes.len()),
        notes,
        ..Report::default()
    };
    for post in &posts {
        *report
            .posts
            .entry(post.split)
            .or_default()
            .entry(post.case()?)
            .or_default() += 1;
        report.unlabelled += usize::from(post.labels.is_empty());
    }
    for class in record::classes(&posts) {
        let mut splits = BTreeMap::new();
        for post in posts.iter().filter(|post| post.labels.contains(&class)) {
            *splits.entry(post.split).or_default() += 1;
        }
        report.labels.insert(class, splits);
    }
    let (unreadable, images) = look_at_images(&posts);
    report.unreadable = unreadable;
    report.shared_images = across_splits(&posts, |i, _| images[i]);
    report.shared_texts = across_splits(&posts, |_, post| post.text.as_deref().map(normalised));
    Ok(report)
}

/// Decodes every picture as training would; returns what is wrong, and the digest of each post's file.
fn look_at_images(posts: &[Post]) -> (Vec<String>, Vec<Option<[u8; 32]>>) {
    let decoder = ImagePreprocessor::new(32, None);
    let looked: Vec<(Option<String>, Option<[u8; 32]>)> = posts
        .par_iter()
        .map(|post| {
            let Some(picture) = &post.image else {
                return (None, None);
            };
            let looked = picture.bytes().and_then(|bytes| {
                decoder.bytes(&bytes)?;
                Ok(Sha256::digest(&bytes).into())
            });
            match looked {
                Ok(digest) => (None, Some(digest)),
                Err(error) => {
                    let place = format!("{}: {picture}: {error:#}", post.place());
                    (Some(place), None)
                }
            }
        })
        .collect();
    let (unreadable, digests): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    (unreadable.into_iter().flatten().collect(), digests)
}

/// Groups posts by a key and keeps the groups that lie in more than one split, in the order of their first posts.
fn across_splits<K: Ord>(posts: &[Post], key: impl Fn(usize, &Post) -> Option<K>) -> Vec<Shared> {
    let mut groups: BTreeMap<K, Vec<&Post>> = BTreeMap::new();
    for (i, post) in posts.iter().enumerate() {
        if let Some(key) = key(i, post) {
            groups.entry(key).or_default().push(post);
        }
    }
    let mut crossing: Vec<Vec<&Post>> = groups
        .into_values()
        .filter(|group| group.iter().any(|post| post.split != group[0].split))
        .collect();
    crossing.sort_by_key(|group| group[0].line);
    crossing
        .into_iter()
        .map(|group| Shared {
            posts: group.len(),
            ids: group
                .iter()
                .rev()
                .map(|post| (post.split, post.id.clone()))
                .collect(),
        })
        .collect()
}

/// Lower-case words without marks.
fn normalised(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

impl Report {
    /// Whether something must be repaired before the data can be used.
    pub fn is_broken(&self) -> bool {
        !self.unreadable.is_empty() || self.posts.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for split in Split::ALL {
            let Some(cases) = self.posts.get(&split) else {
                writeln!(f, "{split}: no posts")?;
                continue;
            };
            let total: usize = cases.values().sum();
            let parts: Vec<String> = cases
                .iter()
                .map(|(case, count)| format!("{count} {case}"))
                .collect();
            writeln!(f, "{split}: {total} posts ({})", parts.join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for difference in &self.differences {
            writeln!(f, "differs from the published data set: {difference}")?;
        }
        writeln!(f, "classes: {}", self.labels.len())?;
        let width = self
            .labels
            .keys()
            .map(|class| class.chars().count())
            .max()
            .unwrap_or(0);
        for (class, splits) in &self.labels {
            let counts = Split::ALL.map(|split| splits.get(&split).copied().unwrap_or(0));
            let [train, val, test] = counts;
            writeln!(
                f,
                "  {class:width$}  {train:>6} train {val:>6} val {test:>6} test"
            )?;
        }
        self.balance(f)?;
        if self.unlabelled > 0 {
            writeln!(f, "posts without a label: {}", self.unlabelled)?;
        }
        writeln!(f, "unreadable pictures: {}", self.unreadable.len())?;
        for line in self.unreadable.iter().take(EXAMPLES) {
            writeln!(f, "  {line}")?;
        }
        for (what, shared) in [
            ("pictures", &self.shared_images),
            ("texts", &self.shared_texts),
        ] {
            writeln!(
                f,
                "{what} that lie in more than one split: {}",
                shared.len()
            )?;
            for one in shared.iter().take(EXAMPLES) {
                let ids: Vec<String> = one
                    .ids
                    .iter()
                    .map(|(split, id)| format!("{id} ({split})"))
                    .collect();
                writeln!(f, "  {}, {} posts in all", ids.join(" = "), one.posts)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn balance(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let train = |class: &&String| self.labels[*class].get(&Split::Train).copied().unwrap_or(0);
        let (Some(most), Some(least)) = (
            self.labels.keys().max_by_key(train),
            self.labels.keys().min_by_key(train),
        ) else {
            return Ok(());
        };
        writeln!(
            f,
            "largest class in training {most} ({}), smallest {least} ({})",
            train(&most),
            train(&least)
        )?;
        let absent: BTreeSet<&str> = self
            .labels
            .iter()
            .filter(|(_, splits)| !splits.contains_key(&Split::Train))
            .map(|(class, _)| class.as_str())
            .collect();
        if !absent.is_empty() {
            let names: Vec<&str> = absent.into_iter().collect();
            writeln!(
                f,
                "classes that cannot be learnt, for no training post has them: {}",
                names.join(", ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::format::jsonl;
    use crate::data::synthetic;

    #[test]
    fn a_sound_folder_has_no_findings() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::write(folder.path(), [6, 3, 3], 1).unwrap();
        let report = check(folder.path(), &DataSettings::default()).unwrap();
        assert!(!report.is_broken());
        assert_eq!(report.posts[&Split::Train][&Case::Complete], 6);
        assert!(report.shared_images.is_empty() && report.shared_texts.is_empty());
        assert!(report.to_string().contains("train: 6 posts (6 complete)"));
    }

    #[test]
    fn damage_and_leaks_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        synthetic::write(folder.path(), [3, 3, 0], 1).unwrap();
        std::fs::copy(images.join("train-0.png"), images.join("val-0.png")).unwrap();
        let bytes = std::fs::read(images.join("train-1.png")).unwrap();
        std::fs::write(images.join("train-1.png"), &bytes[..bytes.len() / 2]).unwrap();
        let path = folder.path().join(jsonl::FILE);
        let mut lines = std::fs::read_to_string(&path).unwrap();
        lines += "{\"id\":\"x\",\"text\":\"Same, words\",\"label\":\"rare\",\"split\":\"test\"}\n";
        lines += "{\"id\":\"y\",\"text\":\"same words\",\"split\":\"train\"}\n";
        std::fs::write(&path, lines).unwrap();
        let report = check(folder.path(), &DataSettings::default()).unwrap();
        assert!(report.is_broken());
        assert_eq!(report.unreadable.len(), 1);
        assert!(
            report.unreadable[0].contains("line 2") && report.unreadable[0].contains("train-1.png")
        );
        assert_eq!(report.shared_images.len(), 1);
        assert_eq!(report.shared_images[0].ids[&Split::Val], "val-0");
        assert_eq!(report.shared_texts[0].ids[&Split::Test], "x");
        assert_eq!(report.unlabelled, 1);
        assert!(
            report
                .to_string()
                .contains("no training post has them: rare")
        );
    }
}
