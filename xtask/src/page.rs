//! Owns the building of the page: the worker's artefacts, then trunk.

use anyhow::Result;

use crate::artefacts;
use crate::bundles;
use crate::folders;
use crate::stamp::Stamp;
use crate::step::{call, command};
use crate::tools;

/// Where the page is built to.
pub(crate) const DIST: &str = "dist";
/// The classifier that comes with the project.
pub(crate) const COMMITTED_BUNDLE: &str = "assets/demo-bundle";

/// Everything the page is made of.
const INPUTS: [&str; 21] = [
    "index.html",
    "Trunk.toml",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "rust-toolchain.toml",
    "web/Cargo.toml",
    "web/src",
    "web/samples",
    "web/icons",
    "web/manifest.webmanifest",
    "web/offline.js",
    "web/start.js",
    "web/style",
    "shared/Cargo.toml",
    "shared/src",
    "xtask/src/bundles.rs",
    "xtask/src/folders.rs",
    "xtask/src/shell.rs",
    COMMITTED_BUNDLE,
    artefacts::FOLDER,
];

/// Builds the page into dist/, with the committed bundle and no other in it; if it is up to date, only that is seen to.
///
/// # Errors
/// If a tool is missing or a build fails.
pub(crate) fn build() -> Result<()> {
    // Trunk would call this first itself, as Trunk.toml tells it; here its time and its errors are ours.
    artefacts::build()?;
    let stamp = Stamp::of("page", &INPUTS)?;
    if stamp.holds(&[&format!("{DIST}/index.html")]) {
        println!("    {DIST}/ is up to date");
        // A demo may have put its own there.
        return bundles::install(&[COMMITTED_BUNDLE.into()]);
    }
    tools::page_builder()?;
    // Trunk is kept off the network, so cargo gets the packages first.
    call(&mut command("cargo", "fetch --locked"))?;
    call(
        command("trunk", "build --offline --dist dist")
            .env("PATH", tools::search_path()?)
            .env(
                "CARGO_TARGET_DIR",
                std::env::current_dir()?.join(artefacts::TARGET_DIR),
            )
            .env("TRUNK_SKIP_VERSION_CHECK", "true")
            // Cargo adds these to the flags of .cargo/config.toml.
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                folders::renamed()?,
            )
            // Set outside, it would silently replace the flags of .cargo/config.toml.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            // Trunk reads NO_COLOR as a boolean and refuses the usual "1".
            .env_remove("NO_COLOR"),
    )?;
    stamp.keep()
}
