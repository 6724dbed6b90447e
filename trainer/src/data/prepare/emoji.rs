//! Owns joining icon sets to the emoji they draw: names and tags come from Unicode's CLDR by way of emojibase.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::concept;
use super::iconify::IconSet;
use super::read_json;

/// What draws no thing: flags, letters, and modifiers that are only seen joined to others.
const DROPPED_GROUPS: [&str; 2] = ["component", "flags"];
const DROPPED_SUBGROUPS: [&str; 5] = ["keycap", "alphanum", "skin-tone", "other-object", "hotel"];

/// Icons whose name means something else in their own set: a country, hands for arrows, a face for a couple.
const MISNAMED: [(&str, &str); 11] = [
    ("fxemoji", "bow"),
    ("fxemoji", "couple"),
    ("fxemoji", "down"),
    ("fxemoji", "keyboard"),
    ("fxemoji", "kiss"),
    ("fxemoji", "pout"),
    ("fxemoji", "pouting"),
    ("fxemoji", "sunglasses"),
    ("fxemoji", "up"),
    ("fxemoji", "wave"),
    ("streamline-emojis", "turkey"),
];

/// One emoji, without its skin tones.
#[derive(Clone, Debug)]
pub struct Emoji {
    /// The CLDR short name, for example `red apple`.
    pub label: String,
    /// The CLDR keywords.
    pub tags: Vec<String>,
    /// The subgroup's name, for example `food-fruit`.
    pub subgroup: String,
    /// The key shared by all variants of the thing.
    pub concept: String,
    /// Place in Unicode's own order.
    pub order: u32,
}

/// All emoji that draw a thing, and every name they are known by.
pub struct Emojibase {
    /// In Unicode's order.
    pub emoji: Vec<Emoji>,
    by_characters: BTreeMap<String, usize>,
    by_name: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Entry {
    label: String,
    hexcode: String,
    #[serde(default)]
    tags: Vec<String>,
    order: Option<u32>,
    group: Option<u32>,
    subgroup: Option<u32>,
}

#[derive(Deserialize)]
struct Groups {
    groups: BTreeMap<String, String>,
    subgroups: BTreeMap<String, String>,
}

impl Emojibase {
    /// Reads `folder` (the unpacked npm package `emojibase-data`).
    ///
    /// # Errors
    /// If a file of the package is missing or not as expected.
    pub fn read(folder: &Path) -> Result<Self> {
        let groups: Groups = read_json(&folder.join("meta/groups.json"))?;
        let mut entries: Vec<Entry> = read_json(&folder.join("en/data.json"))?;
        entries.sort_by_key(|entry| entry.order);
        let mut this = Self {
            emoji: Vec::new(),
            by_characters: BTreeMap::new(),
            by_name: BTreeMap::new(),
        };
        for entry in entries {
            let (Some(group), Some(subgroup)) = (entry.group, entry.subgroup) else {
                continue;
            };
            let name = |table: &BTreeMap<String, String>, id: u32| {
                table.get(&id.to_string()).cloned().with_context(|| {
                    format!(
                        "meta/groups.json: no name for the group {id} of {:?}",
                        entry.label
                    )
                })
            };
            let (group, subgroup) = (
                name(&groups.groups, group)?,
                name(&groups.subgroups, subgroup)?,
            );
            if DROPPED_GROUPS.contains(&group.as_str())
                || DROPPED_SUBGROUPS.contains(&subgroup.as_str())
            {
                continue;
            }
            let index = this.emoji.len();
            this.by_characters
                .insert(code_points(&entry.hexcode), index);
            this.by_name.entry(squeezed(&entry.label)).or_insert(index);
            this.emoji.push(Emoji {
                concept: concept::key(&entry.label, &group, &subgroup),
                label: entry.label,
                tags: entry.tags,
                subgroup,
                order: entry.order.unwrap_or_default(),
            });
        }
        this.add_names(&read_json(&folder.join("meta/unicode-names.json"))?);
        for list in ["github", "emojibase", "iamcal", "joypixels"] {
            this.add_names(&read_json(
                &folder.join(format!("en/shortcodes/{list}.json")),
            )?);
        }
        Ok(this)
    }

    /// Adds names from a table of code points to a name or a list of names. Names already known keep their meaning.
    fn add_names(&mut self, table: &BTreeMap<String, Value>) {
        for (characters, names) in table {
            let Some(&index) = self.by_characters.get(&code_points(characters)) else {
                continue;
            };
            let one = std::slice::from_ref(names);
            for name in names.as_array().map_or(one, Vec::as_slice) {
                if let Some(name) = name.as_str() {
                    self.by_name.entry(squeezed(name)).or_insert(index);
                }
            }
        }
    }

    /// Adds the names that sets with known characters use, among them older CLDR names (`bear-face`).
    /// They come before Unicode's formal names and short codes only if added first; call it right after reading.
    pub fn learn_names(&mut self, set: &IconSet) {
        let mut learnt = Vec::new();
        for (icon, characters) in &set.characters {
            let index = characters
                .iter()
                .find_map(|c| self.by_characters.get(&code_points(c)));
            if let Some(&index) = index {
                learnt.push((squeezed(icon), index));
            }
        }
        for (alias, icon) in &set.aliases {
            if let Some(index) = self.find(set, icon) {
                learnt.push((squeezed(alias), index));
            }
        }
        for (name, index) in learnt {
            self.by_name.entry(name).or_insert(index);
        }
    }

    /// The emoji an icon draws: by its characters, else by its name, else by its name without a variant number.
    fn find(&self, set: &IconSet, icon: &str) -> Option<usize> {
        if let Some(characters) = set.characters.get(icon) {
            return characters
                .iter()
                .find_map(|c| self.by_characters.get(&code_points(c)).copied());
        }
        if MISNAMED.contains(&(set.style.as_str(), icon)) {
            return None;
        }
        let unnumbered = icon
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .trim_end_matches('-');
        [icon, unnumbered]
            .iter()
            .find_map(|name| self.by_name.get(&squeezed(name)).copied())
    }

    /// The icons of a set with the emoji they draw, in the order of the icons' names; icons that draw none are left
    /// out (flags, letters, skin tones).
    pub fn matches<'a>(&self, set: &'a IconSet) -> Vec<(&'a str, usize)> {
        let mut found: Vec<(&str, usize)> = set
            .icons
            .keys()
            .filter_map(|icon| Some((icon.as_str(), self.find(set, icon)?)))
            .collect();
        // The icon that bears the emoji's own name comes first among its drawings.
        found.sort_by_key(|(icon, index)| {
            (
                *index,
                squeezed(icon) != squeezed(&self.emoji[*index].label),
                *icon,
            )
        });
        found
    }
}

/// Code points without the invisible "draw it in colour" mark, which lists add or leave out as they like.
fn code_points(hexcode: &str) -> String {
    let parts: Vec<String> = hexcode
        .split('-')
        .map(str::to_ascii_uppercase)
        .filter(|part| part != "FE0F")
        .collect();
    parts.join("-")
}

/// A name without case, accents, spaces and marks: lists differ in all of them.
fn squeezed(name: &str) -> String {
    concept::words(name).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Emojibase {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "meta/groups.json",
            r#"{"groups":{"4":"food-drink","9":"flags"},"subgroups":{"42":"food-fruit","97":"flag"}}"#,
        );
        write(
            "en/data.json",
            r#"[{"label":"red apple","hexcode":"1F34E","tags":["fruit"],"order":2,"group":4,"subgroup":42},
                {"label":"lemon","hexcode":"1F34B-FE0F","order":1,"group":4,"subgroup":42},
                {"label":"white flag","hexcode":"1F3F3","order":3,"group":9,"subgroup":97},
                {"label":"regional indicator A","hexcode":"1F1E6"}]"#,
        );
        write("meta/unicode-names.json", r#"{"1F34B":"SOUR THING"}"#);
        for list in ["github", "emojibase", "iamcal", "joypixels"] {
            write(
                &format!("en/shortcodes/{list}.json"),
                r#"{"1F34E":["apple","lemon"]}"#,
            );
        }
        Emojibase::read(folder.path()).unwrap()
    }

    fn set(icons: &[&str], characters: &[(&str, &str)]) -> IconSet {
        let json = format!(
            r#"{{"icons":{{{}}}}}"#,
            icons
                .iter()
                .map(|i| format!(r#""{i}":{{"body":""}}"#))
                .collect::<Vec<_>>()
                .join(",")
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("icons.json"), json).unwrap();
        std::fs::write(
            folder.path().join("info.json"),
            r#"{"license":{"spdx":"MIT"}}"#,
        )
        .unwrap();
        std::fs::write(folder.path().join("chars.json"), "{}").unwrap();
        let mut set = IconSet::read(folder.path()).unwrap();
        for (icon, c) in characters {
            set.characters.insert((*icon).into(), vec![(*c).into()]);
        }
        set
    }

    #[test]
    fn flags_and_letters_are_left_out_and_order_is_unicodes() {
        let labels: Vec<String> = base().emoji.into_iter().map(|e| e.label).collect();
        assert_eq!(labels, ["lemon", "red apple"]);
    }

    #[test]
    fn icons_match_by_character_name_formal_name_and_short_code() {
        let mut base = base();
        let known = set(&["obst"], &[("obst", "1f34e")]);
        base.learn_names(&known);
        assert_eq!(base.matches(&known), [("obst", 1)]);
        let unknown = set(
            &["apple", "lemon-2", "obst", "red-apple", "sourthing", "x"],
            &[],
        );
        assert_eq!(
            base.matches(&unknown),
            [
                ("lemon-2", 0),
                ("sourthing", 0),
                ("red-apple", 1),
                ("apple", 1),
                ("obst", 1)
            ]
        );
    }
}
