//! Owns the bundles beside the page: their folders, and the list `bundles.json`, by which a visitor chooses before
//! anything of them is fetched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::page::DIST;
use crate::shell;
use crate::stamp::{files, write};

/// What makes a folder a bundle.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The list's name; the page asks for it.
const LIST: &str = "bundles.json";
/// The folder of the first bundle, which the page loads by itself; the others have a number behind.
const FOLDER: &str = "bundle";
/// The splits whose accuracy is told; the first that was measured counts.
const SPLITS: [&str; 2] = ["test", "val"];

/// Puts bundles where the built page looks for them, in place of those that are there, and lists them.
///
/// # Errors
/// If a folder is no bundle or cannot be copied.
pub(crate) fn install(bundles: &[PathBuf]) -> Result<()> {
    for bundle in bundles {
        if !bundle.join(MANIFEST).is_file() {
            bail!("{} is no bundle: it has no {MANIFEST}", bundle.display());
        }
    }
    for old in folders(Path::new(DIST))? {
        let old = Path::new(DIST).join(old);
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    for (place, bundle) in bundles.iter().enumerate() {
        let name = match place {
            0 => FOLDER.to_owned(),
            more => format!("{FOLDER}-{}", more + 1),
        };
        copy(bundle, &Path::new(DIST).join(name))?;
    }
    list(Path::new(DIST))
}

/// Lists the bundles beside a built page, and then the page's own files, of which that list is one.
///
/// # Errors
/// If a manifest cannot be read or a list not be written.
pub(crate) fn list(page: &Path) -> Result<()> {
    let bundles = folders(page)?
        .iter()
        .map(|folder| {
            let path = page.join(folder).join(MANIFEST);
            let place = || format!("cannot read {}", path.display());
            let manifest = fs::read(&path).with_context(place)?;
            let manifest = serde_json::from_slice(&manifest).with_context(place)?;
            Ok(describe(folder, &manifest))
        })
        .collect::<Result<Vec<Value>>>()?;
    let json = serde_json::to_string_pretty(&json!({ "bundles": bundles }))? + "\n";
    write(&page.join(LIST), json.as_bytes())?;
    shell::list(page)
}

/// What a visitor wants to know of a bundle before it is fetched.
fn describe(folder: &str, manifest: &Value) -> Value {
    let about = &manifest["about"];
    let files = manifest["files"].as_array();
    let sizes = files
        .into_iter()
        .flatten()
        .map(|file| file["bytes"].as_u64());
    let figures = about["figures"].as_array();
    let accuracy = |split: &str| -> Vec<&Value> {
        let all = figures.into_iter().flatten();
        all.filter(|figure| figure["split"] == split && figure["metric"] == "accuracy")
            .collect()
    };
    let figures = SPLITS.map(accuracy).into_iter().find(|all| !all.is_empty());
    json!({
        "folder": format!("{folder}/"),
        "about": {
            "name": about["name"],
            "description": about["description"],
            "licence": about["licence"],
            "figures": figures.unwrap_or_default(),
        },
        "dtype": manifest["dtype"],
        "bytes": sizes.flatten().sum::<u64>(),
        "classes": manifest["config"]["classes"].as_array().map_or(0, Vec::len),
    })
}

/// The names of the bundles' folders beside a page, the first one first.
fn folders(page: &Path) -> Result<Vec<String>> {
    let place = || format!("cannot read the folder {}", page.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(page).with_context(place)? {
        let entry = entry.with_context(place)?;
        if entry.path().join(MANIFEST).is_file() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    // Shorter names first, so that the tenth comes after the second.
    found.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    Ok(found)
}

fn copy(bundle: &Path, target: &Path) -> Result<()> {
    let place = || format!("cannot put the bundle {} into {DIST}", bundle.display());
    for from in files(bundle)? {
        let to = target.join(from.strip_prefix(bundle)?);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(place)?;
        }
        fs::copy(&from, &to).with_context(place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_described_by_its_manifest() {
        let figure = |split: &str, metric: &str| json!({"split": split, "metric": metric, "value": 0.5, "posts": 3});
        let manifest = json!({
            "about": {
                "name": "A", "description": "B.", "licence": "MIT", "made": ["long"],
                "figures": [figure("val", "accuracy"), figure("val", "f1_macro"), figure("train", "accuracy")],
            },
            "config": {"classes": ["x", "y"]},
            "dtype": "int8",
            "files": [{"name": "a", "bytes": 3}, {"name": "b", "bytes": 4}],
        });
        let described = describe("bundle-2", &manifest);
        assert_eq!(described["folder"], "bundle-2/");
        assert_eq!(described["bytes"], 7);
        assert_eq!(described["classes"], 2);
        assert_eq!(
            described["about"]["figures"],
            json!([figure("val", "accuracy")])
        );
        assert!(described["about"]["made"].is_null());
    }
}
