//! Owns the layout of MM-IMDb: `images/<id>.jpeg`, `labels/<id>.json`, `split.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::{DataSet, json};
use crate::data::record::{Picture, Post, Split};
use crate::settings::Plots;

/// The genres of the benchmark, in the order of the reference code's labels; a film's other genres are left out.
pub const GENRES: [&str; 23] = [
    "Drama",
    "Comedy",
    "Romance",
    "Thriller",
    "Crime",
    "Action",
    "Adventure",
    "Horror",
    "Documentary",
    "Mystery",
    "Sci-Fi",
    "Fantasy",
    "Family",
    "Biography",
    "War",
    "History",
    "Music",
    "Animation",
    "Musical",
    "Western",
    "Sport",
    "Short",
    "Film-Noir",
];

#[derive(Deserialize)]
struct Film {
    plot: Vec<String>,
    genres: Vec<String>,
}

/// Reads the films of all three splits, in the order of `split.json`. With [`Plots::All`] each plot of a film is a post,
/// as in the reference code: all plots of a film share its row of the missing table, and figures count plots.
///
/// # Errors
/// If a file is missing or malformed, or a film is in two splits or has no plot.
pub(super) fn read(folder: &Path, plots: Plots) -> Result<DataSet> {
    let splits: BTreeMap<String, Vec<String>> =
        json(&folder.join("split.json"), "the ids of train, dev and test")?;
    let mut posts = Vec::new();
    let mut first_in: BTreeMap<String, Split> = BTreeMap::new();
    for split in Split::ALL {
        let name = if split == Split::Val {
            "dev"
        } else {
            split.name()
        };
        let Some(ids) = splits.get(name) else {
            bail!(
                "{} has no list {name:?}; it needs train, dev and test",
                folder.join("split.json").display()
            );
        };
        for (place, id) in ids.iter().enumerate() {
            if let Some(first) = first_in.insert(id.clone(), split) {
                bail!(
                    "{}: the film {id:?} is in {first} and in {split}",
                    folder.join("split.json").display()
                );
            }
            film(folder, id, split, place + 1, plots, &mut posts)?;
        }
    }
    let films = first_in.len();
    let notes = match plots {
        Plots::All => vec![format!(
            "{} posts of {films} films: every plot is a post (data.plots = \"first\" takes one a film)",
            posts.len()
        )],
        Plots::First => Vec::new(),
    };
    Ok(DataSet {
        posts,
        classes: GENRES.map(String::from).to_vec(),
        notes,
    })
}

fn film(
    folder: &Path,
    id: &str,
    split: Split,
    line: usize,
    plots: Plots,
    posts: &mut Vec<Post>,
) -> Result<()> {
    let name = format!("labels/{id}.json");
    let path = folder.join(&name);
    let film: Film = json(&path, "a film with the fields \"plot\" and \"genres\"")?;
    let mut labels: Vec<String> = film
        .genres
        .into_iter()
        .filter(|genre| GENRES.contains(&genre.as_str()))
        .collect();
    labels.sort();
    labels.dedup();
    let texts: Vec<String> = film
        .plot
        .into_iter()
        .filter(|plot| !plot.trim().is_empty())
        .collect();
    if texts.is_empty() {
        bail!("{}: the field \"plot\" has no text", path.display());
    }
    let wanted = match plots {
        Plots::All => texts.len(),
        Plots::First => 1,
    };
    for (number, text) in texts.into_iter().take(wanted).enumerate() {
        posts.push(Post {
            id: if wanted == 1 {
                id.to_owned()
            } else {
                format!("{id}#{}", number + 1)
            },
            image: Some(Picture::File(folder.join(format!("images/{id}.jpeg")))),
            text: Some(text),
            labels: labels.clone(),
            split,
            file: name.as_str().into(),
            line,
            group: Some(id.to_owned()),
        });
    }
    Ok(())
}
