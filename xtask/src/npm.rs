//! Owns the building of the npm package: the worker's artefacts beside the compiled TypeScript, packed for `npm install`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::artefacts;
use crate::stamp::{Stamp, files};
use crate::step::{call, command};
use crate::tools;

/// The package's sources; its tsconfig.json names [`FOLDER`]`/package/dist` as their output.
pub(crate) const SOURCE: &str = "web/npm";
/// Where the packed file is left.
const FOLDER: &str = "target/npm";

/// Everything the package is made of.
const INPUTS: [&str; 10] = [
    "web/npm/src",
    "web/npm/package.json",
    "web/npm/package-lock.json",
    "web/npm/tsconfig.json",
    "web/npm/README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Cargo.toml",
    "xtask/src/npm.rs",
    artefacts::FOLDER,
];

/// Builds the package and returns the packed file; builds nothing if it is up to date.
///
/// # Errors
/// If a tool or an artefact is missing, or the TypeScript has mistakes.
pub(crate) fn build() -> Result<PathBuf> {
    artefacts::build()?;
    tools::node()?;
    tools::node_packages(SOURCE)?;
    let version = env!("CARGO_PKG_VERSION");
    let packed = Path::new(FOLDER).join(format!("lacuna-classifier-{version}.tgz"));
    let stamp = Stamp::of("npm", &INPUTS)?;
    if stamp.holds(&[&packed.to_string_lossy()]) {
        println!("    {} is up to date", packed.display());
        return Ok(packed);
    }
    if Path::new(FOLDER).exists() {
        fs::remove_dir_all(FOLDER).with_context(|| format!("cannot remove {FOLDER}"))?;
    }
    call(command(tools::npm(), "run --silent build").current_dir(SOURCE))?;
    let package = Path::new(FOLDER).join("package");
    copy_artefacts(&package.join("dist/artefacts"))?;
    for file in [
        "web/npm/package.json",
        "web/npm/README.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ] {
        copy(Path::new(file), &package)?;
    }
    // There is one version, the workspace's; and what builds the package is not for those who install it.
    for change in [
        &format!("pkg set version={version}"),
        "pkg delete scripts devDependencies",
    ] {
        call(command(tools::npm(), change).current_dir(&package))?;
    }
    call(command(tools::npm(), "pack --pack-destination ..").current_dir(&package))?;
    stamp.keep()?;
    Ok(packed)
}

/// Puts all artefacts into `folder`. Whoever installs the package cannot build the one that may be left out here.
fn copy_artefacts(folder: &Path) -> Result<()> {
    let threads = format!("{}/threads_bg.wasm", artefacts::FOLDER);
    if !Path::new(&threads).is_file() {
        bail!(
            "{threads} was not built, and the package needs every artefact; `rustup component add rust-src` installs \
             what it lacks, then remove target/stamps/workers and start again"
        );
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files(Path::new(artefacts::FOLDER))? {
        copy(&file, folder)?;
    }
    Ok(())
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, folder.join(name))
        .with_context(|| format!("cannot copy {} to {}", file.display(), folder.display()))?;
    Ok(())
}
