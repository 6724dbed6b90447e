//! Owns reading Open Clip Art: which drawings show a thing, and what they show in clean words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use resvg::usvg::{self, roxmltree};

use super::concept::words;
use super::render;

/// Folders (or parts of paths) of signs, buttons and patterns: they draw no thing.
const EXCLUDED: [&str; 14] = [
    "shapes/",
    "buttons/",
    "special/",
    "computer/icons",
    "computer/buttons",
    "computer/folders",
    "signs_and_symbols/led",
    "signs_and_symbols/map_symbols",
    "recreation/games/cards",
    "aiga",
    "pantyhose",
    "logos/",
    "borders",
    "flag",
];
/// Words about files, not about what is drawn.
const FILE_WORDS: [&str; 18] = [
    "clip",
    "art",
    "clipart",
    "svg",
    "png",
    "unsorted",
    "externalsource",
    "inkscape",
    "vector",
    "anonymous",
    "unknown",
    "remix",
    "bw",
    "openclipart",
    "hash",
    "various",
    "menu",
    "collection",
];
/// Words that mean nothing alone: no tags, and not the first or last word of a name.
const SMALL_WORDS: [&str; 24] = [
    "a", "an", "and", "at", "by", "con", "da", "de", "del", "di", "for", "from", "il", "in", "is",
    "la", "le", "no", "of", "on", "or", "the", "to", "with",
];
/// A word that is in no dictionary is one if so many authors use it.
const ENOUGH_AUTHORS: usize = 3;
/// Longest name in words.
const LONGEST_NAME: usize = 8;

/// One file of the library with the words it came with.
pub struct ClipArt {
    /// The file.
    pub path: PathBuf,
    /// Its path below the library's root without the ending, parts joined by `__`.
    pub key: String,
    /// The folders it lies in, as words, outermost first.
    pub directories: Vec<String>,
    title: Vec<String>,
    file_name: Vec<String>,
    keywords: Vec<String>,
    author: Vec<String>,
}

/// A drawing's clean words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The title, or the file's name, without the author's name.
    pub name: String,
    /// Keywords and the file's name, those of them that are words.
    pub tags: Vec<String>,
}

/// Lists the library at `root`, in the order of paths, without excluded folders. Files that are no XML are skipped.
///
/// # Errors
/// If a folder or file cannot be read.
pub fn list(root: &Path) -> Result<Vec<ClipArt>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(root).unwrap_or(&path).with_extension("");
        let parts: Vec<String> = relative
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let joined = parts.join("/");
        if EXCLUDED.iter().any(|excluded| joined.contains(excluded)) {
            continue;
        }
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        let Ok(document) = parse(&text) else { continue };
        let (folders, name) = parts.split_at(parts.len().saturating_sub(1));
        found.push(ClipArt {
            key: parts.join("__"),
            directories: folders
                .iter()
                .map(|folder| words(folder).join(" "))
                .collect(),
            title: title(&document),
            file_name: name
                .iter()
                .flat_map(|name| words(name))
                .map(without_number)
                .collect(),
            keywords: texts(&document, "li"),
            author: author(&document),
            path,
        });
    }
    Ok(found)
}

/// Renders a file of the library; nothing if it is empty, a thin line, or no drawing.
///
/// # Errors
/// If the file cannot be read.
pub fn picture(path: &Path) -> Result<Option<image::RgbaImage>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let tree = usvg::Tree::from_data(&bytes, &render::options());
    Ok(tree.ok().and_then(|tree| render::square(&tree)))
}

/// Cleans the words of the whole library. A word stays if the dictionary has it or several authors use it, and if it
/// is not part of the name of the file's own author: titles are full of authors' names, and file names of names cut
/// off in the middle. A drawing whose name is nothing else is called after its folder.
pub fn names(library: &[ClipArt], lexicon: &BTreeSet<String>) -> Vec<Names> {
    let mut authors: BTreeMap<&str, BTreeSet<&[String]>> = BTreeMap::new();
    for art in library {
        for word in art.title.iter().chain(&art.keywords).chain(&art.file_name) {
            authors.entry(word).or_default().insert(&art.author);
        }
    }
    let shared = |word: &str| {
        authors
            .get(word)
            .is_some_and(|authors| authors.len() >= ENOUGH_AUTHORS)
    };
    library
        .iter()
        .map(|art| {
            let good = |word: &&String| {
                word.len() > 1
                    && word.chars().all(|c| c.is_ascii_alphabetic())
                    && !FILE_WORDS.contains(&word.as_str())
                    && (is_word(word, lexicon) || shared(word))
            };
            let by_author = |word: &String| art.author.contains(word);
            let cut_author = |word: &String| art.author.iter().any(|a| a.starts_with(&**word));
            let title: Vec<&String> = art
                .title
                .iter()
                .filter(good)
                .filter(|w| !by_author(w))
                .collect();
            let file_name: Vec<&String> = art
                .file_name
                .iter()
                .filter(good)
                .filter(|w| !cut_author(w))
                .collect();
            let keywords = art.keywords.iter().filter(good).filter(|w| !by_author(w));
            let chosen = if title.is_empty() { &file_name } else { &title };
            let name: Vec<&str> = trimmed(chosen).iter().take(LONGEST_NAME).copied().collect();
            let tags: BTreeSet<String> = keywords
                .chain(file_name.iter().copied())
                .filter(|word| !is_small(word))
                .cloned()
                .collect();
            let name = match art.directories.last() {
                Some(folder) if name.is_empty() && folder != "unsorted" => folder.clone(),
                _ => name.join(" "),
            };
            Names {
                name,
                tags: tags.into_iter().collect(),
            }
        })
        .collect()
}

/// The words without small words at either end, and without repetitions.
fn trimmed<'a>(words: &[&'a String]) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    for word in words {
        let leads_small = kept.is_empty() && is_small(word);
        if !leads_small && !kept.contains(&word.as_str()) {
            kept.push(word);
        }
    }
    while kept.last().is_some_and(|word| is_small(word)) {
        kept.pop();
    }
    kept
}

fn is_small(word: &str) -> bool {
    SMALL_WORDS.contains(&word)
}

/// `bus1` is a bus.
fn without_number(word: String) -> String {
    word.trim_matches(|c: char| c.is_ascii_digit()).to_owned()
}

/// Whether the dictionary has the word or what it is regularly formed from.
fn is_word(word: &str, lexicon: &BTreeSet<String>) -> bool {
    lexicon.contains(word)
        || [
            ("ies", "y"),
            ("es", ""),
            ("s", ""),
            ("ing", ""),
            ("ing", "e"),
            ("ed", ""),
            ("ed", "e"),
        ]
        .iter()
        .any(|(ending, instead)| {
            let stem = word.strip_suffix(ending);
            stem.is_some_and(|stem| stem.len() > 2 && lexicon.contains(&format!("{stem}{instead}")))
        })
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "svg") {
            found.push(path);
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<roxmltree::Document<'_>, roxmltree::Error> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(text, options)
}

/// The work's own title: the first `dc:title` that is not inside an agent (an author, a publisher).
fn title(document: &roxmltree::Document) -> Vec<String> {
    document
        .descendants()
        .filter(|node| node.tag_name().name() == "title")
        .find(|node| {
            !node
                .ancestors()
                .any(|above| above.tag_name().name() == "Agent")
        })
        .and_then(|node| node.text())
        .map(words)
        .unwrap_or_default()
}

fn texts(document: &roxmltree::Document, tag: &str) -> Vec<String> {
    document
        .descendants()
        .filter(|node| node.tag_name().name() == tag)
        .filter_map(|node| node.text())
        .flat_map(words)
        .collect()
}

/// The words of the creator's name, sorted; the library itself, as publisher, is no author.
fn author(document: &roxmltree::Document) -> Vec<String> {
    let found: BTreeSet<String> = document
        .descendants()
        .filter(|node| matches!(node.tag_name().name(), "creator" | "rights"))
        .flat_map(|node| {
            node.descendants()
                .filter_map(|below| below.text())
                .flat_map(words)
        })
        .collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn art(title: &str, file_name: &str, keywords: &str, author: &str) -> ClipArt {
        ClipArt {
            path: PathBuf::new(),
            key: String::new(),
            directories: vec!["animals".into()],
            title: words(title),
            file_name: words(file_name),
            keywords: words(keywords),
            author: words(author),
        }
    }

    #[test]
    fn authors_names_go_and_words_stay() {
        let lexicon: BTreeSet<String> = ["full", "moon", "frog", "park", "in", "the"]
            .map(str::to_owned)
            .into();
        let library = [
            art(
                "full moon dan gerhar",
                "full_moon_dan_gerhards_01",
                "moon",
                "Dan Gerhards",
            ),
            art(
                "rana",
                "rana_architetto_franc_01",
                "frogs",
                "Architetto Francesco",
            ),
            art("tux", "frog_benji_pa_01", "park", "Benji Park"),
            art("by tux", "tux", "", "Someone"),
            art("tux in the park", "1", "", "Other"),
        ];
        let names = names(&library, &lexicon);
        assert_eq!(names[0].name, "full moon");
        assert_eq!(names[0].tags, ["full", "moon"]);
        assert_eq!(names[1].name, "animals");
        assert_eq!(names[1].tags, ["frogs"]);
        assert_eq!(names[2].name, "tux");
        assert_eq!(names[2].tags, ["frog"]);
        assert_eq!(names[3].name, "tux");
        assert_eq!(names[4].name, "tux in the park");
    }

    #[test]
    fn metadata_is_read_and_folders_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["animals/birds", "shapes"] {
            std::fs::create_dir_all(folder.path().join(place)).unwrap();
            let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d" xmlns:cc="c" xmlns:rdf="r" viewBox="0 0 9 9">
                <metadata><cc:Agent><dc:title>Library</dc:title></cc:Agent><dc:title>A Duck</dc:title>
                <dc:creator><cc:Agent><dc:title>Ann Other</dc:title></cc:Agent></dc:creator>
                <rdf:li>water bird</rdf:li></metadata><rect width="9" height="9"/></svg>"#;
            std::fs::write(folder.path().join(place).join("duck_1.svg"), svg).unwrap();
        }
        let library = list(folder.path()).unwrap();
        assert_eq!(library.len(), 1);
        assert_eq!(library[0].key, "animals__birds__duck_1");
        assert_eq!(library[0].directories, ["animals", "birds"]);
        assert_eq!(library[0].title, ["a", "duck"]);
        assert_eq!(library[0].keywords, ["water", "bird"]);
        assert_eq!(library[0].author, ["ann", "other"]);
        assert!(picture(&library[0].path).unwrap().is_some());
    }
}
