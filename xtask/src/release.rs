//! Owns `cargo xtask release`: everything that is given to others, in one folder, with bills of materials and checksums.
//! Nothing is sent anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::bom::{self, Product};
use crate::stamp::{self, files};
use crate::step::{Steps, call, command, output};
use crate::{npm, page};

/// Where it is gathered.
const FOLDER: &str = "target/release-files";
/// One line a file: its SHA-256 and its path, as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";
const WASM: &str = "wasm32-unknown-unknown";

/// What is gathered.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these, for a try
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The profile of cargo that the trainer is built with; `dev` for a try
    #[arg(long, default_value = "release")]
    profile: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The native program
    Trainer,
    /// The page with its workers and the committed bundle
    Page,
    /// The package for other pages
    Npm,
}

/// Builds and gathers.
///
/// # Errors
/// If something cannot be built or copied.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::start();
    let folder = Path::new(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {FOLDER}"))?;
    }
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    if wanted(Part::Trainer) {
        let target = host()?;
        steps.run("trainer", || trainer(folder, &options.profile))?;
        steps.run("the trainer's bill of materials", || {
            list(
                folder,
                "trainer",
                "application",
                "cargo",
                "trainer",
                &target,
            )
        })?;
    }
    if wanted(Part::Page) {
        steps.run("page", || {
            page::build()?;
            copy(Path::new(page::DIST), &folder.join("page"))
        })?;
        steps.run("the worker's bill of materials", || {
            list(folder, "worker", "application", "cargo", "web", WASM)
        })?;
    }
    if wanted(Part::Npm) {
        steps.run("npm package", || {
            let packed = npm::build()?;
            let name = packed.file_name().context("the npm package has no name")?;
            copy(&packed, &folder.join(name))
        })?;
        steps.run("the npm package's bill of materials", || {
            list(folder, "lacuna-classifier", "library", "npm", "web", WASM)
        })?;
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(Path::new(licence), &folder.join(licence))?;
    }
    let sums = checksums(folder)?;
    stamp::write(&folder.join(CHECKSUMS), sums.as_bytes())?;
    println!("\nTimes:\n{}", steps.summary());
    println!(
        "\n{} files in {FOLDER}; {CHECKSUMS} has their sums.",
        sums.lines().count()
    );
    Ok(())
}

/// Builds the trainer and puts it into the folder.
fn trainer(folder: &Path, profile: &str) -> Result<()> {
    let arguments = format!("build -p trainer --bin trainer --locked --profile {profile}");
    call(&mut command("cargo", &arguments))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    // What cargo calls `dev` it builds into `debug`.
    let built = if profile == "dev" { "debug" } else { profile };
    let program = format!("trainer{}", std::env::consts::EXE_SUFFIX);
    copy(&target.join(built).join(&program), &folder.join(&program))
}

/// Writes a bill of materials into the folder.
fn list(
    folder: &Path,
    name: &str,
    kind: &str,
    registry: &str,
    package: &str,
    target: &str,
) -> Result<()> {
    let bill = bom::of(&Product {
        name,
        kind,
        registry,
        package,
        target,
    })?;
    let parts = bill["components"].as_array().map_or(0, Vec::len);
    let path = folder.join(format!("{name}.cdx.json"));
    stamp::write(&path, serde_json::to_string_pretty(&bill)?.as_bytes())?;
    println!("    {}: {parts} packages", path.display());
    Ok(())
}

/// This machine, as rustc calls it.
fn host() -> Result<String> {
    let said = output(&mut command("rustc", "-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it runs on")?
        .to_owned())
}

/// The sums of all files of a folder, by their paths in it.
fn checksums(folder: &Path) -> Result<String> {
    let mut sums = String::new();
    for file in files(folder)? {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let name = name.to_string_lossy().replace('\\', "/");
        sums += &format!("{:x}  {name}\n", Sha256::digest(bytes));
    }
    if sums.is_empty() {
        bail!("{} is empty", folder.display());
    }
    Ok(sums)
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let place = match file.strip_prefix(from) {
            Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
            _ => to.to_owned(),
        };
        let named = || format!("cannot copy {} to {}", file.display(), place.display());
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).with_context(named)?;
        }
        fs::copy(&file, &place).with_context(named)?;
    }
    Ok(())
}
