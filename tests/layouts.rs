//! Owns small folders in the published layouts of data sets, with pictures of a few pixels.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use image::{Rgb, RgbImage};
use serde_json::json;
use trainer::data::format::mm_imdb::GENRES;

/// The splits' names in most layouts.
const SPLITS: [&str; 3] = ["train", "dev", "test"];

fn picture(path: &Path, number: usize) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let shade = (number * 37 % 256) as u8;
    // JPEG whatever the name, as in the wild.
    RgbImage::from_pixel(20, 24, Rgb([shade, 200 - shade / 2, 90]))
        .save_with_format(path, image::ImageFormat::Jpeg)?;
    Ok(())
}

/// MM-IMDb with `films` films a split; every third film has two plots.
///
/// # Errors
/// If a file cannot be written.
pub fn mm_imdb(folder: &Path, films: usize) -> Result<()> {
    std::fs::create_dir_all(folder.join("labels"))?;
    let mut splits = BTreeMap::new();
    for (s, split) in SPLITS.into_iter().enumerate() {
        let ids: Vec<String> = (0..films)
            .map(|i| format!("{:07}", s * films + i))
            .collect();
        for (i, id) in ids.iter().enumerate() {
            let mut plot = vec![format!("A {} film about number {i}.", GENRES[i % 23])];
            if i % 3 == 0 {
                plot.push(format!("Another plot of number {i}."));
            }
            let film = json!({
                "plot": plot, "genres": [GENRES[i % 23], GENRES[(i + 1) % 23], "Reality-TV"], "title": "x",
            });
            std::fs::write(folder.join(format!("labels/{id}.json")), film.to_string())?;
            picture(&folder.join(format!("images/{id}.jpeg")), i)?;
        }
        splits.insert(split, ids);
    }
    std::fs::write(folder.join("split.json"), json!(splits).to_string())?;
    Ok(())
}

/// UPMC Food-101 with three classes, not in the order of the alphabet, and `photos` photos a split; with titles in
/// `text.json`, or in `texts/train_titles.csv` and `texts/test_titles.csv`. The first test photo has no title.
///
/// # Errors
/// If a file cannot be written.
pub fn food101(folder: &Path, photos: usize, as_csv: bool) -> Result<()> {
    let classes = ["tacos", "apple_pie", "gnocchi"];
    let numbers: BTreeMap<&str, usize> = classes.into_iter().zip(0..).collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("class_idx.json"), json!(numbers).to_string())?;
    let (mut splits, mut titles) = (BTreeMap::new(), BTreeMap::new());
    for (s, split) in ["train", "val", "test"].into_iter().enumerate() {
        let part = if split == "test" { "test" } else { "train" };
        let mut files = Vec::new();
        for i in 0..photos {
            let class = classes[i % 3];
            let file = format!("{class}_{}.jpg", s * photos + i);
            picture(&folder.join(format!("images/{part}/{class}/{file}")), i)?;
            if split != "test" || i > 0 {
                titles.insert(
                    file.clone(),
                    format!("How to make {class}, \"the best\", number {i}"),
                );
            }
            files.push(file);
        }
        splits.insert(split, files);
    }
    std::fs::write(folder.join("split.json"), json!(splits).to_string())?;
    if !as_csv {
        std::fs::write(folder.join("text.json"), json!(titles).to_string())?;
        return Ok(());
    }
    std::fs::create_dir_all(folder.join("texts"))?;
    for part in ["train", "test"] {
        let mut lines = String::new();
        for (file, title) in &titles {
            lines += &format!("{file},\"{}\",{part}\n", title.replace('"', "\"\""));
        }
        std::fs::write(folder.join(format!("texts/{part}_titles.csv")), lines)?;
    }
    Ok(())
}

/// Hateful Memes with `memes` memes a split, in the folder `data`, with both later test files and the first one, which has
/// no labels.
///
/// # Errors
/// If a file cannot be written.
pub fn hateful_memes(folder: &Path, memes: usize) -> Result<()> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let files = ["train", "dev", "test_seen", "test_unseen", "test"];
    for (s, file) in files.into_iter().enumerate() {
        let mut lines = String::new();
        for i in 0..memes {
            let id = 10_000 * (s + 1) + i;
            let mut line =
                json!({"id": id, "img": format!("img/{id}.png"), "text": format!("words {i}")});
            if file != "test" {
                line["label"] = (i % 2).into();
            }
            lines += &format!("{line}\n");
            picture(&data.join(format!("img/{id}.png")), i)?;
        }
        std::fs::write(data.join(format!("{file}.jsonl")), lines)?;
    }
    Ok(())
}
