//! Owns `cargo xtask reproduce`: the page built twice, here and from a copy of the sources in another folder, is the same
//! to the last byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::page::{self, DIST};
use crate::stamp::files;
use crate::step::{Steps, call, command, output};
use crate::tools;

/// Where the other build takes place.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The folder for the copy, new or empty; otherwise one beside the system's temporary files, removed afterwards
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Builds the page here and elsewhere, and compares every file.
///
/// # Errors
/// If a build fails, or with the names of the files that differ.
pub(crate) fn run(options: &Options) -> Result<()> {
    let temporary = std::env::temp_dir().join(format!("lacuna-reproduce-{}", std::process::id()));
    let folder = options.folder.clone().unwrap_or(temporary);
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty; name another folder", folder.display());
    }
    let mut steps = Steps::start();
    steps.run("the page here", page::build)?;
    steps.run("a copy of the sources", || copy(&folder))?;
    steps.run("the page there", || {
        // The tools are the same; what they make of the sources is what is compared.
        let tools = tools::search_path()?;
        let mut build = command("cargo", "run --quiet --package xtask -- build-web");
        call(build.current_dir(&folder).env("PATH", tools))
    })?;
    let (here, there) = (sums(Path::new(DIST))?, sums(&folder.join(DIST))?);
    let names: Vec<_> = here.keys().chain(there.keys()).collect();
    let mut differing: Vec<_> = names
        .into_iter()
        .filter(|name| here.get(*name) != there.get(*name))
        .map(String::as_str)
        .collect();
    differing.sort_unstable();
    differing.dedup();
    if !differing.is_empty() {
        bail!(
            "these files differ between {DIST} and {}: {}",
            folder.join(DIST).display(),
            differing.join(", ")
        );
    }
    for (name, sum) in here.iter().filter(|(name, _)| name.ends_with(".wasm")) {
        println!("    {sum}  {name}");
    }
    println!("    {} files are the same in both builds", here.len());
    if options.folder.is_none() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Copies every file that git tracks or would track.
fn copy(folder: &Path) -> Result<()> {
    let list = "-c safe.directory=* ls-files --cached --others --exclude-standard";
    let listed = output(&mut command("git", list)).context("the list of files comes from git")?;
    for name in listed.lines().filter(|name| Path::new(name).is_file()) {
        let to = folder.join(name);
        let place = || format!("cannot copy {name} to {}", to.display());
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(place)?;
        }
        fs::copy(name, &to).with_context(place)?;
    }
    Ok(())
}

/// The SHA-256 of every file under a folder, by its name.
fn sums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for path in files(folder)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        sums.insert(name, format!("{:x}", Sha256::digest(&bytes)));
    }
    Ok(sums)
}
