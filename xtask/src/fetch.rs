//! Owns getting the open data that package registries carry, by name and version, into an ignored folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::step;

/// The drawings and their names: npm packages at pinned versions (licences: docs/data.md).
const NPM_PACKAGES: [(&str, &str); 9] = [
    ("@iconify-json/noto", "1.2.9"),
    ("@iconify-json/noto-v1", "1.2.5"),
    ("@iconify-json/twemoji", "1.2.5"),
    ("@iconify-json/fluent-emoji", "1.2.7"),
    ("@iconify-json/fluent-emoji-flat", "1.2.6"),
    ("@iconify-json/emojione", "1.2.3"),
    ("@iconify-json/fxemoji", "1.2.2"),
    ("@iconify-json/streamline-emojis", "1.2.4"),
    ("emojibase-data", "17.0.0"),
];

/// A Debian package: its name, the version this project was made with, and the folder it must bring.
struct DebianPackage {
    name: &'static str,
    version: &'static str,
    folder: &'static str,
}

const CLIP_ART: DebianPackage = DebianPackage {
    name: "openclipart-svg",
    version: "1:0.18+dfsg-19",
    folder: "usr/share/openclipart/svg",
};

const WORDNET: DebianPackage = DebianPackage {
    name: "wordnet-base",
    version: "1:3.0-37",
    folder: "usr/share/wordnet",
};

/// What can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// Emoji in eight drawing styles, with names and tags (npm)
    Emoji,
    /// Open Clip Art (Debian)
    Clipart,
    /// WordNet's nouns (Debian)
    Wordnet,
}

/// Get the open data that the tiny CLIP and the demo are made of
#[derive(clap::Args)]
pub(crate) struct FetchArgs {
    /// What to get; everything if nothing is named
    pub(crate) sources: Vec<Source>,
    /// Where to put it
    #[arg(long, default_value = "data/sources")]
    pub(crate) into: PathBuf,
}

/// Gets what is named and not there yet; what is there is left alone.
///
/// # Errors
/// A sentence naming the client that is missing or failed, and what to do.
pub(crate) fn run(arguments: &FetchArgs) -> Result<()> {
    let sources = if arguments.sources.is_empty() {
        Source::value_variants()
    } else {
        &arguments.sources
    };
    let into = &arguments.into;
    std::fs::create_dir_all(into)
        .with_context(|| format!("cannot make the folder {}", into.display()))?;
    for source in sources {
        match source {
            Source::Emoji => npm(into)?,
            Source::Clipart => debian(into, &CLIP_ART)?,
            Source::Wordnet => debian(into, &WORDNET)?,
        }
    }
    Ok(())
}

/// Installs the npm packages into `into/npm/node_modules`, without running any of their scripts.
fn npm(into: &Path) -> Result<()> {
    let folder = into.join("npm");
    let missing: Vec<String> = NPM_PACKAGES
        .iter()
        .filter(|(name, version)| installed_version(&folder, name).as_deref() != Some(version))
        .map(|(name, version)| format!("{name}@{version}"))
        .collect();
    if missing.is_empty() {
        println!("emoji: already in {}", folder.display());
        return Ok(());
    }
    let client = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if step::output(Command::new(client).arg("--version")).is_err() {
        bail!(
            "the emoji come as npm packages and npm is not installed; install Node 20 or newer (it brings npm) and run `cargo xtask fetch emoji` again"
        );
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    println!(
        "emoji: getting {} of {} packages",
        missing.len(),
        NPM_PACKAGES.len()
    );
    // All packages are named each time, for npm removes what it is not told of.
    let mut command = Command::new(client);
    command
        .args([
            "install",
            "--no-save",
            "--no-package-lock",
            "--ignore-scripts",
        ])
        .args(["--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
        .arg(&folder)
        .args(
            NPM_PACKAGES
                .iter()
                .map(|(name, version)| format!("{name}@{version}")),
        );
    step::call(&mut command).context("npm could not get the emoji; is the network there?")?;
    for (name, version) in NPM_PACKAGES {
        let found = installed_version(&folder, name);
        if found.as_deref() != Some(version) {
            bail!(
                "npm installed {name} {found:?} where {version} was asked for; remove {} and try again",
                folder.display()
            );
        }
    }
    Ok(())
}

/// The version of an npm package under `folder`, if it is there and whole.
fn installed_version(folder: &Path, name: &str) -> Option<String> {
    let path = folder.join("node_modules").join(name).join("package.json");
    let text = std::fs::read_to_string(path).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(package.get("version")?.as_str()?.to_owned())
}

/// Unpacks a Debian package into `into/debian` without installing it, unless the system has it installed.
fn debian(into: &Path, package: &DebianPackage) -> Result<()> {
    let name = package.name;
    let root = into.join("debian");
    for place in [
        root.join(package.folder),
        Path::new("/").join(package.folder),
    ] {
        if place.is_dir() {
            println!("{name}: already in {}", place.display());
            return Ok(());
        }
    }
    for client in ["apt-get", "dpkg-deb"] {
        if step::output(Command::new(client).arg("--version")).is_err() {
            bail!(
                "{name} comes as a Debian package and {client} is not installed; on Debian or Ubuntu it is, elsewhere copy the package's {} from such a machine to {}",
                package.folder,
                root.join(package.folder).display()
            );
        }
    }
    let download = into.join(format!(".{name}-download"));
    let _ = std::fs::remove_dir_all(&download);
    std::fs::create_dir_all(&download)
        .with_context(|| format!("cannot make the folder {}", download.display()))?;
    let result = download_and_unpack(package, &download, &root);
    let _ = std::fs::remove_dir_all(&download);
    result
}

fn download_and_unpack(package: &DebianPackage, download: &Path, root: &Path) -> Result<()> {
    let name = package.name;
    let get = |what: &str| {
        step::call(
            Command::new("apt-get")
                .args(["-q", "download", what])
                .current_dir(download),
        )
    };
    if get(&format!("{name}={}", package.version)).is_err() {
        println!(
            "{name}: version {} is not in this system's lists, getting theirs",
            package.version
        );
        get(name).with_context(|| {
            format!("apt-get could not get {name}; `apt-get update` may help (as root)")
        })?;
    }
    let archive = std::fs::read_dir(download)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no archive of {name}"))?;
    // Unpacked beside the target and renamed, so that a half-unpacked package is never taken for a whole one.
    let unpacked = download.join("unpacked");
    step::call(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&archive)
            .arg(&unpacked),
    )?;
    let (from, to) = (unpacked.join(package.folder), root.join(package.folder));
    if !from.is_dir() {
        bail!(
            "{name} has no {}; its layout has changed since {}",
            package.folder,
            package.version
        );
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::rename(&from, &to)
        .with_context(|| format!("cannot move {name} to {}", to.display()))?;
    let copyright = format!("usr/share/doc/{name}");
    let (from, to) = (unpacked.join(&copyright), root.join(&copyright));
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let _ = std::fs::rename(from, to);
    println!("{name}: unpacked into {}", root.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_only_at_its_version() {
        let folder = std::env::temp_dir().join(format!("fetch-{}", std::process::id()));
        let package = folder.join("node_modules/@set/name");
        std::fs::create_dir_all(&package).unwrap();
        assert_eq!(installed_version(&folder, "@set/name"), None);
        std::fs::write(package.join("package.json"), r#"{"version":"1.2.3"}"#).unwrap();
        assert_eq!(
            installed_version(&folder, "@set/name").as_deref(),
            Some("1.2.3")
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
