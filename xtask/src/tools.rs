//! Owns the programs that the build needs beside cargo: finds them, installs what it may, and otherwise says what to do.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stamp::Stamp;
use crate::step::{call, cargo, command, output};

/// The page's builder. Newer ones need a newer compiler than this project does.
const TRUNK: &str = "0.21.14";
/// What checks the dependencies.
const CARGO_DENY: &str = "0.20.2";
/// The oldest Node that runs the downloads and the browser tests.
const OLDEST_NODE: u32 = 20;
/// What runs libFuzzer.
const CARGO_FUZZ: &str = "0.13.2";
/// Where the tools that we install ourselves live.
const FOLDER: &str = "target/tools";
/// The browser tests' own folder.
pub(crate) const E2E: &str = "tests/e2e";

/// Makes sure that the compiler can build for `target`.
///
/// # Errors
/// A sentence if it cannot and there is no rustup to ask.
pub(crate) fn rust_target(target: &str) -> Result<()> {
    let libraries = output(&mut command(
        "rustc",
        &format!("--print target-libdir --target {target}"),
    ))?;
    if Path::new(&libraries).is_dir() {
        return Ok(());
    }
    call(&mut command("rustup", &format!("target add {target}"))).with_context(|| {
        format!("the compiler lacks the target {target}; `rustup target add {target}` installs it")
    })
}

/// Makes sure that the compiler has the sources of its standard library.
///
/// # Errors
/// A sentence if it has not and there is no rustup to ask.
pub(crate) fn rust_sources() -> Result<()> {
    let place = output(&mut command("rustc", "--print sysroot"))?;
    let lock = "lib/rustlib/src/rust/library/Cargo.lock";
    if Path::new(&place).join(lock).is_file() {
        return Ok(());
    }
    call(&mut command("rustup", "component add rust-src")).context(
        "the compiler lacks its standard library's sources; `rustup component add rust-src` installs them",
    )
}

/// Makes sure that trunk is there.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn page_builder() -> Result<()> {
    cargo_tool(
        "trunk",
        "trunk",
        TRUNK,
        "--no-default-features --features rustls",
    )?;
    bindings_builder()
}

/// Makes sure that the wasm-bindgen of Cargo.lock is there.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn bindings_builder() -> Result<()> {
    cargo_tool(
        "wasm-bindgen",
        "wasm-bindgen-cli",
        &locked_version("wasm-bindgen")?,
        "",
    )
}

/// Makes sure that cargo-deny is there.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn dependency_checker() -> Result<()> {
    cargo_tool("cargo-deny", "cargo-deny", CARGO_DENY, "")
}

/// Makes sure that cargo-fuzz is there.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn fuzzer() -> Result<()> {
    cargo_tool("cargo-fuzz", "cargo-fuzz", CARGO_FUZZ, "")
}

/// The search path with our own tools first.
pub(crate) fn search_path() -> Result<OsString> {
    let own = env::current_dir()?.join(FOLDER).join("bin");
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own).chain(env::split_paths(&rest)))
        .context("the search path has an entry that cannot be kept")
}

/// Finds a program of exactly this version, in our folder or on the search path, or builds it.
fn cargo_tool(program: &str, package: &str, version: &str, features: &str) -> Result<()> {
    let says = |path: &Path| {
        output(Command::new(path).arg("--version"))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == version))
    };
    let path = search_path()?;
    if env::split_paths(&path)
        .map(|folder| executable(&folder.join(program)))
        .filter(|path| path.is_file())
        .any(|path| says(&path))
    {
        return Ok(());
    }
    println!(
        "    {program} {version} is not here yet: building it into {FOLDER} once, which takes some minutes"
    );
    // First with the versions that the tool was published with. A registry may have lost one of them since; then with
    // those that it has now: the tool's own version, which must equal that of the library, stays.
    let exact = install(package, version, features, true);
    let installed = exact.or_else(|error| {
        println!("    {error:#}; trying again with the versions of its parts that there are now");
        install(package, version, features, false)
    });
    installed
        .with_context(|| format!("{program} {version} could not be installed; is there a network?"))
}

/// Builds a tool into our folder.
fn install(package: &str, version: &str, features: &str, locked: bool) -> Result<()> {
    // These run for seconds at a time: compile them quickly rather than well.
    call(
        cargo()
            .args(["install", package, "--version", version, "--root", FOLDER])
            .args(locked.then_some("--locked"))
            .args(features.split_whitespace())
            .env("CARGO_TARGET_DIR", format!("{FOLDER}/build"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env_remove("RUSTFLAGS"),
    )
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> Result<String> {
    let lock = std::fs::read_to_string("Cargo.lock").context("cannot read Cargo.lock")?;
    version_in(&lock, package).with_context(|| format!("Cargo.lock has no package {package}"))
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

/// Makes sure that Node is there and new enough.
///
/// # Errors
/// A sentence with what to install.
pub(crate) fn node() -> Result<()> {
    let advice = format!("install Node {OLDEST_NODE} or newer, with npm, and start again");
    let version = output(&mut command("node", "--version"))
        .with_context(|| format!("Node is not installed; {advice}"))?;
    let major = version.trim_start_matches('v').split('.').next();
    if major
        .and_then(|major| major.parse().ok())
        .is_none_or(|major: u32| major < OLDEST_NODE)
    {
        bail!("Node {version} is too old; {advice}");
    }
    output(&mut command(npm(), "--version"))
        .with_context(|| format!("Node is here but npm is not; {advice}"))?;
    Ok(())
}

/// npm's name on this system.
pub(crate) fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// Finds Chromium: the variable CHROMIUM, then the search path. On a build machine (CI=true, root, Debian) installs it.
///
/// # Errors
/// A sentence with what to install.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM").map(PathBuf::from) {
        if path.is_file() {
            return Ok(path);
        }
        bail!(
            "the variable CHROMIUM names {}, which is no file",
            path.display()
        );
    }
    if let Some(path) = find_chromium() {
        return Ok(path);
    }
    let builds = env::var("CI").is_ok_and(|value| value == "true");
    let root = output(&mut command("id", "-u")).is_ok_and(|user| user == "0");
    if builds && root && output(&mut command("apt-get", "--version")).is_ok() {
        call(&mut command("apt-get", "update -q"))?;
        call(
            command("apt-get", "install -y -q --no-install-recommends chromium")
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    find_chromium().context(
        "Chromium is not installed; on Debian or Ubuntu `sudo apt-get install chromium`, elsewhere install \
         Chromium or Chrome; if it is in an unusual place, name its program in the variable CHROMIUM",
    )
}

fn find_chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
    ];
    let mac = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    env::split_paths(&path)
        .flat_map(|folder| names.map(|name| executable(&folder.join(name))))
        .chain(mac.map(PathBuf::from))
        .find(|path| path.is_file())
}

/// How programs for ARM's 64 bits are linked and run here.
pub(crate) struct Arm {
    pub(crate) linker: &'static str,
    pub(crate) runner: &'static str,
}

/// Finds what emulates ARM, if it is there.
pub(crate) fn arm() -> Option<Arm> {
    let linker = "aarch64-linux-gnu-gcc";
    let here = [linker, "qemu-aarch64"]
        .iter()
        .all(|program| output(&mut command(program, "--version")).is_ok());
    here.then_some(Arm {
        linker,
        runner: "qemu-aarch64 -L /usr/aarch64-linux-gnu",
    })
}

/// Makes sure that the browser tests' packages are installed.
///
/// # Errors
/// As [`node_packages`].
pub(crate) fn browser_tests() -> Result<()> {
    node_packages(E2E)
}

/// Makes sure that the packages of `folder` are installed as its lock file says.
///
/// # Errors
/// If npm fails, most often for want of a network.
pub(crate) fn node_packages(folder: &str) -> Result<()> {
    let lock = format!("{folder}/package-lock.json");
    let name = format!("packages-{}", folder.replace('/', "-"));
    let stamp = Stamp::of(&name, &[&format!("{folder}/package.json"), &lock])?;
    if stamp.holds(&[&format!("{folder}/node_modules")]) {
        return Ok(());
    }
    let install = if Path::new(&lock).is_file() {
        "ci"
    } else {
        "install"
    };
    call(
        command(
            npm(),
            &format!("{install} --no-audit --no-fund --loglevel=error"),
        )
        .current_dir(folder)
        // Only playwright-core is used, with the system's Chromium.
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
    )
    .with_context(|| format!("the packages of {folder} could not be installed"))?;
    stamp.keep()
}

/// The path with the system's ending for programs.
fn executable(path: &Path) -> PathBuf {
    if cfg!(windows) {
        path.with_extension("exe")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_from_a_lock_file() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"9.9.9\"\n\n[[package]]\nname = \"a\"\nversion = \"0.2.130\"\n";
        assert_eq!(version_in(lock, "a").as_deref(), Some("0.2.130"));
        assert_eq!(version_in(lock, "none"), None);
    }
}
