//! Owns the building of the page: trunk, the WebAssembly profile, and the check that SIMD is really in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::stamp::{Stamp, files};
use crate::step::{call, command};
use crate::tools;

/// Where the page is built to.
pub(crate) const DIST: &str = "dist";
/// The classifier that comes with the project.
pub(crate) const COMMITTED_BUNDLE: &str = "assets/demo-bundle";
/// WebAssembly has a target folder of its own, so that it never waits for, or throws away, native work.
pub(crate) const WASM_TARGET_DIR: &str = "target/wasm";
/// `f32x4.mul`: without it the compiler was told nothing of SIMD, and the page would be several times slower.
const SIMD_MULTIPLY: [u8; 3] = [0xfd, 0xe6, 0x01];

/// Everything the page is made of.
const INPUTS: [&str; 10] = [
    "index.html",
    "Trunk.toml",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "rust-toolchain.toml",
    "web",
    "shared/Cargo.toml",
    "shared/src",
    COMMITTED_BUNDLE,
];

/// Builds the page into dist/, with the committed bundle in it; does nothing if it is up to date.
///
/// # Errors
/// If a tool is missing, the build fails, or the result has no SIMD.
pub(crate) fn build() -> Result<()> {
    let stamp = Stamp::of("page", &INPUTS)?;
    if stamp.holds(&[&format!("{DIST}/index.html")]) {
        println!("    {DIST}/ is up to date");
        return Ok(());
    }
    tools::rust_target("wasm32-unknown-unknown")?;
    tools::page_builders()?;
    // Trunk is kept off the network, so cargo gets the packages first.
    call(&mut command("cargo", "fetch --locked"))?;
    call(
        command("trunk", "build --offline --dist dist")
            .env("PATH", tools::search_path()?)
            .env(
                "CARGO_TARGET_DIR",
                std::env::current_dir()?.join(WASM_TARGET_DIR),
            )
            .env("TRUNK_SKIP_VERSION_CHECK", "true")
            // Set outside, it would silently replace the flags of .cargo/config.toml.
            .env_remove("RUSTFLAGS")
            // Trunk reads NO_COLOR as a boolean and refuses the usual "1".
            .env_remove("NO_COLOR"),
    )?;
    check_simd()?;
    stamp.keep()
}

/// Counts SIMD multiplications in the built WebAssembly.
fn check_simd() -> Result<()> {
    let mut multiplications = 0;
    for path in files(Path::new(DIST))? {
        if path.extension().is_some_and(|ending| ending == "wasm") {
            let code =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            multiplications += code
                .windows(3)
                .filter(|bytes| *bytes == SIMD_MULTIPLY)
                .count();
            println!("    {} {} bytes", path.display(), code.len());
        }
    }
    if multiplications == 0 {
        bail!(
            "the built page uses no SIMD; does something outside set RUSTFLAGS or the build's target features?"
        );
    }
    Ok(())
}

/// Puts a bundle where the built page looks for it, in place of the one that is there.
///
/// # Errors
/// If the folder is no bundle or cannot be copied.
pub(crate) fn install_bundle(bundle: &Path) -> Result<()> {
    if !bundle.join("manifest.json").is_file() {
        bail!("{} is no bundle: it has no manifest.json", bundle.display());
    }
    let target = Path::new(DIST).join("bundle");
    let place = || format!("cannot put the bundle {} into {DIST}", bundle.display());
    if target.exists() {
        fs::remove_dir_all(&target).with_context(place)?;
    }
    for from in files(bundle)? {
        let to = target.join(from.strip_prefix(bundle)?);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(place)?;
        }
        fs::copy(&from, &to).with_context(place)?;
    }
    Ok(())
}
