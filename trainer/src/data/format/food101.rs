//! Owns the layout of UPMC Food-101: `images/{train,test}/<class>/<file>`, `class_idx.json`, `split.json`, and the titles in
//! `text.json` or `texts/*_titles.csv`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{DataSet, json};
use crate::data::record::{Picture, Post, Split};

/// Reads the photos of all three splits, in the order of `split.json`. Photos without a title are left out, as in the
/// reference code; a note says how many.
///
/// # Errors
/// If a file is missing or malformed, a photo is of no class or in two splits, or no titles are there.
pub(super) fn read(folder: &Path) -> Result<DataSet> {
    let path = folder.join("class_idx.json");
    let classes = ordered(&path, json(&path, "the number of each class")?)?;
    let path = folder.join("split.json");
    let splits: BTreeMap<String, Vec<String>> = json(&path, "the files of train, val and test")?;
    let titles = titles(folder)?;
    let mut posts = Vec::new();
    let mut first_in: BTreeMap<&str, Split> = BTreeMap::new();
    let mut without = 0;
    for split in Split::ALL {
        let Some(files) = splits.get(split.name()) else {
            bail!("{} has no list {:?}", path.display(), split.name());
        };
        for (place, file) in files.iter().enumerate() {
            let at = || format!("{}, {split} entry {}: {file:?}", path.display(), place + 1);
            let class = file.rsplit_once('_').map(|(class, _)| class.to_owned());
            let Some(class) = class.filter(|class| classes.contains(class)) else {
                bail!("{} begins with none of the classes of class_idx.json", at());
            };
            if let Some(first) = first_in.insert(file, split) {
                bail!("{} is in {first} already", at());
            }
            let Some(title) = titles.get(file).filter(|title| !title.trim().is_empty()) else {
                without += 1;
                continue;
            };
            // Validation photos are a part of the training folder.
            let part = if split == Split::Test {
                "test"
            } else {
                "train"
            };
            posts.push(Post {
                id: file.clone(),
                image: Some(Picture::File(
                    folder.join(format!("images/{part}/{class}/{file}")),
                )),
                text: Some(title.clone()),
                labels: vec![class],
                split,
                file: "split.json".into(),
                line: place + 1,
                group: None,
            });
        }
    }
    let left =
        || format!("{without} photos without a title were left out, as in the reference code");
    Ok(DataSet {
        posts,
        classes,
        notes: (without > 0).then(left).into_iter().collect(),
    })
}

/// The classes in the order of their numbers, which is not the alphabet's.
fn ordered(path: &Path, numbers: BTreeMap<String, usize>) -> Result<Vec<String>> {
    let mut by_number: BTreeMap<usize, String> = BTreeMap::new();
    for (class, number) in numbers {
        if let Some(other) = by_number.insert(number, class.clone()) {
            bail!(
                "{}: {other:?} and {class:?} both have number {number}",
                path.display()
            );
        }
    }
    if by_number.keys().copied().ne(0..by_number.len()) {
        bail!(
            "{}: the numbers of {} classes must be 0 to {}, each once",
            path.display(),
            by_number.len(),
            by_number.len().saturating_sub(1)
        );
    }
    Ok(by_number.into_values().collect())
}

/// The title of each file.
fn titles(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join("text.json");
    if path.exists() {
        return json(&path, "the title of each file");
    }
    let texts = folder.join("texts");
    let mut lists: Vec<_> = std::fs::read_dir(&texts)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("_titles.csv"))
        .collect();
    lists.sort();
    if lists.is_empty() {
        bail!(
            "{} has no titles: neither text.json (file: title) nor texts/*_titles.csv (file, title); DCP's DATA.md says \
             where to get them",
            folder.display()
        );
    }
    let mut titles = BTreeMap::new();
    for list in lists {
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_path(&list)
            .with_context(|| format!("cannot read {}", list.display()))?;
        for (line, row) in csv.records().enumerate() {
            let at = || format!("{} line {}", list.display(), line + 1);
            let row = row.with_context(at)?;
            let (Some(file), Some(title)) = (row.get(0), row.get(1)) else {
                bail!(
                    "{}: a file and a title are needed, but it has {} fields",
                    at(),
                    row.len()
                );
            };
            titles.insert(file.to_owned(), title.to_owned());
        }
    }
    Ok(titles)
}
