//! Owns the checks of the sources that no compiler makes. Each complaint names file and line and says what to do.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::step::{command, output};

/// A file longer than this no longer owns one thing. Tests may be longer: tables are.
const LONGEST_FILE: usize = 400;
/// No file in the tree may be larger, save the weights.
const LARGEST_FILE: u64 = 1 << 20;
/// The only hosts that files may name: papers, standards, licences, and this machine. Whatever the build downloads
/// comes by name through cargo, npm and apt, never from an address written here.
const HOSTS: [&str; 9] = [
    "arxiv.org",
    "doi.org",
    "www.w3.org",
    "www.apache.org",
    "creativecommons.org",
    "opensource.org",
    "localhost",
    "127.0.0.1",
    "json-schema.org",
];

/// What makes markup or programs of words, in JavaScript and as web-sys calls it: texts enter the page as texts. Put
/// together here, so that this file does not find itself.
const WORDS_RUN: [[&str; 2]; 14] = [
    ["inner", "HTML"],
    ["outer", "HTML"],
    ["insertAdjacent", "HTML"],
    ["createContextual", "Fragment"],
    ["setHTML", "Unsafe"],
    ["document.", "write"],
    ["new Fun", "ction("],
    ["ev", "al("],
    ["set_inner_", "html"],
    ["set_outer_", "html"],
    ["insert_adjacent_", "html"],
    ["create_contextual_", "fragment"],
    ["Function::new_", "no_args"],
    ["Function::new_", "with_args"],
];

/// Checks every file that git tracks or would track.
///
/// # Errors
/// With all complaints, one a line.
pub(crate) fn run() -> Result<()> {
    // A build machine's checkout may belong to another user, which git distrusts; we only list names.
    let list = "-c safe.directory=* ls-files --cached --others --exclude-standard";
    let listed = output(&mut command("git", list)).context("the list of files comes from git")?;
    let mut complaints = Vec::new();
    let mut count = 0;
    for name in listed.lines().filter(|name| Path::new(name).is_file()) {
        count += 1;
        let bytes = std::fs::read(name).with_context(|| format!("cannot read {name}"))?;
        if bytes.len() as u64 > LARGEST_FILE && !name.starts_with("assets/") {
            complaints.push(format!(
                "{name}: {} bytes; only assets/ holds large files",
                bytes.len()
            ));
        }
        if let Ok(text) = String::from_utf8(bytes) {
            check(name, &text, &mut complaints);
        }
    }
    if !complaints.is_empty() {
        bail!(
            "{} complaints:\n  {}",
            complaints.len(),
            complaints.join("\n  ")
        );
    }
    println!("    {count} files are tidy");
    Ok(())
}

/// Checks one text file.
fn check(name: &str, text: &str, complaints: &mut Vec<String>) {
    let made_by_tools = name.ends_with(".lock")
        || ["assets/", "fuzz/corpus/"]
            .iter()
            .any(|folder| name.starts_with(folder))
        || name.contains("golden/");
    if name.ends_with(".rs") {
        check_rust(name, text, complaints);
    }
    if name.ends_with("package-lock.json") {
        if text.contains("\"resolved\"") {
            complaints.push(format!(
                "{name}: holds download addresses; put `omit-lockfile-registry-resolved=true` into .npmrc and \
                 write the lock file anew"
            ));
        }
        return;
    }
    if made_by_tools {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        let complaint = complaint_about(line, name).or_else(|| runs_words(line, name));
        if let Some(complaint) = complaint {
            complaints.push(format!("{name}:{}: {complaint}", number + 1));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        complaints.push(format!("{name}: the last line has no end"));
    }
}

fn check_rust(name: &str, text: &str, complaints: &mut Vec<String>) {
    if !text.starts_with("//! ") {
        complaints.push(format!(
            "{name}:1: begin with `//! ` and what the file owns"
        ));
    }
    let lines = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    if lines > LONGEST_FILE && !name.starts_with("tests/") {
        complaints.push(format!(
            "{name}: {lines} lines before its tests, more than {LONGEST_FILE}; does it own one thing?"
        ));
    }
}

/// What is wrong with a line, if anything.
fn complaint_about(line: &str, name: &str) -> Option<String> {
    // In Markdown two spaces at the end mean a line break.
    if line.ends_with([' ', '\t']) && !name.ends_with(".md") {
        return Some("spaces at the end of the line".into());
    }
    if let Some(host) = hosts(line).find(|host| !HOSTS.contains(host)) {
        return Some(format!(
            "names the host {host}; refer to things by name, not by address"
        ));
    }
    // Put together here, so that this file does not find itself.
    let places = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    if let Some(place) = places.iter().find(|place| mentions(line, place)) {
        return Some(format!("names {place}, a path of one machine"));
    }
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
        return Some(format!("{mark}: finish it, or write an issue"));
    }
    None
}

/// What in the browser's sources would make markup or a program of words. Tests try it on purpose.
fn runs_words(line: &str, name: &str) -> Option<String> {
    let scripts = [".js", ".mjs", ".ts", ".html"];
    let browser = name.starts_with("web/") && name.ends_with(".rs");
    let script = scripts.iter().any(|ending| name.ends_with(ending));
    if name.starts_with("tests/") || !(browser || script) {
        return None;
    }
    let words = WORDS_RUN.map(|halves| halves.concat());
    let found = words.iter().find(|words| {
        let before = line.find(*words).and_then(|at| line[..at].chars().last());
        line.contains(*words) && before.is_none_or(|before| !before.is_alphanumeric())
    })?;
    Some(format!(
        "{found} makes markup or a program of words; set text as text"
    ))
}

/// The hosts of all web addresses in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).filter_map(|rest| {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-')))
            .unwrap_or(rest.len());
        let host = rest.get(..end)?;
        (host.contains('.') || host == "localhost").then_some(host)
    })
}

/// True if `place` stands in the line as the start of a path, not inside one.
fn mentions(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_and_paths_told_apart() {
        let line = format!(
            "see https:{}arxiv.org/abs/1, http:{}x.example.net:80",
            "//", "//"
        );
        assert_eq!(
            hosts(&line).collect::<Vec<_>>(),
            ["arxiv.org", "x.example.net"]
        );
        assert!(complaint_about(&line, "a.md").is_some());
        let home = format!("/{}/", "home");
        assert!(mentions(&format!("cd {home}me"), &home));
        assert!(!mentions(&format!("assets{home}me"), &home));
    }

    #[test]
    fn words_that_would_run_are_found() {
        let [inner, evaluate] = [WORDS_RUN[0], WORDS_RUN[7]].map(|halves| halves.concat());
        let markup = format!("panel.{inner} = text;");
        assert!(runs_words(&markup, "web/start.js").is_some());
        assert!(runs_words(&markup, "tests/e2e/policy.test.mjs").is_none());
        assert!(runs_words(&markup, "trainer/src/lib.rs").is_none());
        assert!(runs_words(&format!("x = {evaluate}words)"), "index.html").is_some());
        let method = format!("page.medi{evaluate})");
        assert!(runs_words(&method, "bench/browser/a.mjs").is_none());
    }

    #[test]
    fn a_file_without_a_first_sentence_is_named() {
        let mut complaints = Vec::new();
        check("a.rs", "fn main() {} \n", &mut complaints);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
