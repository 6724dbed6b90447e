//! Owns the list of the page's own files, `shell.json`: what a visit without a connection needs besides a bundle, with
//! sizes and checksums, so that the browser keeps one version of the page whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::bundles::MANIFEST;
use crate::stamp::{files, write};

/// The list's name; `web/offline.js` asks for it.
const LIST: &str = "shell.json";
/// Fetched by the browser itself, whenever it likes.
const SERVICE_WORKER: &str = "offline.js";

/// One version of the page.
#[derive(Serialize)]
struct Shell {
    /// Another one for every change of a file.
    version: String,
    /// By their addresses beside the page.
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize)]
struct Entry {
    bytes: usize,
    sha256: String,
}

/// Lists what is in the built page, save bundles, into a file beside it.
///
/// # Errors
/// If a file cannot be read or the list not be written.
pub(crate) fn list(page: &Path) -> Result<()> {
    let mut found = BTreeMap::new();
    for path in files(page)? {
        let in_bundle = path
            .parent()
            .is_some_and(|folder| folder.join(MANIFEST).is_file());
        let name = path
            .strip_prefix(page)?
            .to_string_lossy()
            .replace('\\', "/");
        // Trunk leaves what is half built under a name with a dot first.
        if in_bundle || name.starts_with('.') || [LIST, SERVICE_WORKER].contains(&name.as_str()) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let sha256 = format!("{:x}", Sha256::digest(&bytes));
        let bytes = bytes.len();
        found.insert(name, Entry { bytes, sha256 });
    }
    let mut hasher = Sha256::new();
    for (name, entry) in &found {
        hasher.update(format!("{name} {}\n", entry.sha256));
    }
    let version = format!("{:x}", hasher.finalize())[..16].to_owned();
    let shell = Shell {
        version,
        files: found,
    };
    let json = serde_json::to_string_pretty(&shell)? + "\n";
    write(&page.join(LIST), json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_left_out_and_every_change_is_another_version() {
        let folder = std::env::temp_dir().join(format!("lacuna-shell-{}", std::process::id()));
        let version = || {
            list(&folder).unwrap();
            let json = fs::read(folder.join(LIST)).unwrap();
            let shell: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let names: Vec<_> = shell["files"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            assert_eq!(names, ["index.html", "workers/a.js"]);
            shell["version"].as_str().unwrap().to_owned()
        };
        for (name, text) in [
            ("index.html", "<p>"),
            ("offline.js", ""),
            ("workers/a.js", "1"),
            ("bundle/manifest.json", "{}"),
            ("bundle/text.safetensors", "2"),
        ] {
            write(&folder.join(name), text.as_bytes()).unwrap();
        }
        let first = version();
        assert_eq!(version(), first);
        write(&folder.join("bundle/text.safetensors"), b"3").unwrap();
        assert_eq!(version(), first);
        write(&folder.join("workers/a.js"), b"2").unwrap();
        assert_ne!(version(), first);
        fs::remove_dir_all(folder).unwrap();
    }
}
