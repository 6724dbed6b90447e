//! Owns reading one icon set of npm's `@iconify-json`: names, drawings, and which characters they stand for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use resvg::usvg;
use serde::Deserialize;

use super::{read_json, render};

/// One icon set: a drawing style.
pub struct IconSet {
    /// Name of the package without its scope, for example `noto`.
    pub style: String,
    /// The licence as the set's own `info.json` states it (an SPDX name).
    pub licence: String,
    /// All icons that are not withdrawn, by name.
    pub icons: BTreeMap<String, Icon>,
    /// Other names of icons: alias to icon.
    pub aliases: BTreeMap<String, String>,
    /// Code points, as in `1f34e`, by icon name. Empty for sets that do not say.
    pub characters: BTreeMap<String, Vec<String>>,
}

/// One drawing.
pub struct Icon {
    body: String,
    view: [f32; 4],
    mirrored: bool,
}

#[derive(Deserialize)]
struct Info {
    license: License,
}

#[derive(Deserialize)]
struct License {
    spdx: String,
}

#[derive(Deserialize)]
struct IconsFile {
    icons: BTreeMap<String, IconEntry>,
    #[serde(default)]
    aliases: BTreeMap<String, AliasEntry>,
    #[serde(default = "sixteen")]
    width: f32,
    #[serde(default = "sixteen")]
    height: f32,
}

#[derive(Deserialize)]
struct IconEntry {
    body: String,
    left: Option<f32>,
    top: Option<f32>,
    width: Option<f32>,
    height: Option<f32>,
    #[serde(default)]
    hidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AliasEntry {
    parent: String,
    #[serde(default)]
    h_flip: bool,
    #[serde(default)]
    v_flip: bool,
    #[serde(default)]
    rotate: u32,
    #[serde(default)]
    hidden: bool,
}

/// The size of icons that state none, by Iconify's definition.
fn sixteen() -> f32 {
    16.0
}

impl IconSet {
    /// Reads the set in `folder` (an unpacked `@iconify-json` package).
    ///
    /// # Errors
    /// If a file of the package is missing or not as expected.
    pub fn read(folder: &Path) -> Result<Self> {
        let style = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let info: Info = read_json(&folder.join("info.json"))?;
        let file: IconsFile = read_json(&folder.join("icons.json"))?;
        let of_character: BTreeMap<String, String> = read_json(&folder.join("chars.json"))?;
        let mut set = Self {
            style,
            licence: info.license.spdx,
            icons: BTreeMap::new(),
            aliases: BTreeMap::new(),
            characters: BTreeMap::new(),
        };
        for (name, entry) in &file.icons {
            if !entry.hidden {
                set.icons.insert(name.clone(), icon(&file, entry, false));
            }
        }
        for (name, alias) in &file.aliases {
            let Some(parent) = file.icons.get(&alias.parent) else {
                continue;
            };
            if alias.hidden || alias.v_flip || alias.rotate != 0 {
                continue;
            }
            if alias.h_flip {
                set.icons.insert(name.clone(), icon(&file, parent, true));
            } else {
                set.aliases.insert(name.clone(), alias.parent.clone());
            }
        }
        for (character, name) in of_character {
            set.characters.entry(name).or_default().push(character);
        }
        Ok(set)
    }
}

fn icon(file: &IconsFile, entry: &IconEntry, mirrored: bool) -> Icon {
    Icon {
        body: entry.body.clone(),
        view: [
            entry.left.unwrap_or(0.0),
            entry.top.unwrap_or(0.0),
            entry.width.unwrap_or(file.width),
            entry.height.unwrap_or(file.height),
        ],
        mirrored,
    }
}

impl Icon {
    /// Renders the drawing; nothing if it is empty.
    ///
    /// # Errors
    /// If it is no valid SVG.
    pub fn picture(&self) -> Result<Option<image::RgbaImage>> {
        let [left, top, width, height] = self.view;
        let (open, close) = if self.mirrored {
            (
                format!(
                    r#"<g transform="translate({} 0) scale(-1 1)">"#,
                    2.0 * left + width
                ),
                "</g>",
            )
        } else {
            (String::new(), "")
        };
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" viewBox="{left} {top} {width} {height}">{open}{}{close}</svg>"#,
            self.body
        );
        let tree = usvg::Tree::from_str(&svg, &render::options()).context("no valid SVG")?;
        Ok(render::square(&tree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_with_aliases_and_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("tiny");
        std::fs::create_dir(&set).unwrap();
        let write = |name: &str, text: &str| std::fs::write(set.join(name), text).unwrap();
        write("info.json", r#"{"license":{"spdx":"MIT"}}"#);
        write("chars.json", r#"{"1f534":"red-dot"}"#);
        write(
            "icons.json",
            r##"{"width":10,"height":10,"icons":{
                "red-dot":{"body":"<path fill=\"#f00\" d=\"M0 0h10L0 10z\"/>"},
                "gone":{"body":"","hidden":true}},
              "aliases":{"dot":{"parent":"red-dot"},"tod":{"parent":"red-dot","hFlip":true}}}"##,
        );
        let set = IconSet::read(&set).unwrap();
        assert_eq!((set.style.as_str(), set.licence.as_str()), ("tiny", "MIT"));
        assert_eq!(set.icons.keys().collect::<Vec<_>>(), ["red-dot", "tod"]);
        assert_eq!(set.aliases["dot"], "red-dot");
        assert_eq!(set.characters["red-dot"], ["1f534"]);
        let straight = set.icons["red-dot"].picture().unwrap().unwrap();
        let mirrored = set.icons["tod"].picture().unwrap().unwrap();
        assert_eq!(straight.get_pixel(5, 5).0[3], 255);
        assert_eq!(mirrored.get_pixel(58, 5).0[3], 255);
        assert_eq!(mirrored.get_pixel(5, 58).0[3], 0);
    }
}
