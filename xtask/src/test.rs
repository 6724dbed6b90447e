//! Owns `cargo xtask test`: every check of the project, cheapest first, stopping at the first that fails.

use anyhow::{Context, Result};

use crate::artefacts;
use crate::page;
use crate::step::{Steps, call, cargo, command};
use crate::tools::Arm;
use crate::{licences, npm, tidy, together, tools};

/// What may be left out.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out what needs Node and Chromium: the WebAssembly tests and the page
    #[arg(long)]
    skip_browser: bool,
}

/// Runs everything.
///
/// # Errors
/// With the name of the first step that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::start();
    let result = checks(&mut steps, options);
    println!("\nTimes:\n{}", steps.summary());
    result?;
    println!("\nEverything passed.");
    Ok(())
}

fn checks(steps: &mut Steps, options: &Options) -> Result<()> {
    steps.run("format", || {
        // Scoring is a workspace of its own, of 470 packages; docs/scoring.md tells how it is tested. So is what runs
        // under libFuzzer; docs/fuzzing.md tells how, and the tests replay its corpora.
        for which in [
            "--all",
            "--manifest-path scoring/Cargo.toml",
            "--manifest-path fuzz/Cargo.toml",
        ] {
            let arguments = format!("fmt {which} --check");
            call(&mut command("cargo", &arguments))
                .context("`cargo fmt` writes the files as they should be")?;
        }
        Ok(())
    })?;
    steps.run("tidy", tidy::run)?;
    if options.skip_browser {
        steps.skip("Node and Chromium", "as --skip-browser asks");
    } else {
        // Asked for now, so that nobody waits twenty minutes to hear that a program is missing.
        steps.run("Node and Chromium", || {
            tools::node()?;
            println!("    {}", tools::chromium()?.display());
            tools::browser_tests()?;
            tools::node_packages(npm::SOURCE)
        })?;
    }
    steps.run("packages", || call(&mut command("cargo", "fetch --locked")))?;
    steps.run("licences", licences::check)?;
    steps.run("clippy", || {
        call(&mut command(
            "cargo",
            "clippy --workspace --all-targets --locked -- -D warnings",
        ))
    })?;
    steps.run("clippy for WebAssembly", || {
        tools::rust_target("wasm32-unknown-unknown")?;
        // The page's thread is built without the model, the worker with it.
        for part in [
            "-p shared -p web --lib --bins",
            "-p web --bin app --no-default-features",
        ] {
            let arguments =
                format!("clippy {part} --target wasm32-unknown-unknown --locked -- -D warnings");
            call(wasm(command("cargo", &arguments)).env_remove("RUSTFLAGS"))?;
        }
        Ok(())
    })?;
    steps.run("documentation", || {
        let arguments = "doc --workspace --no-deps --locked";
        call(command("cargo", arguments).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    match together::missing() {
        None => steps.run("training by two processes, over MPI", together::run)?,
        Some(why) => steps.skip("training by two processes, over MPI", why),
    }
    // Built apart from the tests, because these start the trainer as a program.
    steps.run("build", || {
        call(&mut command("cargo", "build --workspace --locked"))
    })?;
    steps.run("tests", || {
        call(&mut command("cargo", "test --workspace --locked"))
    })?;
    match tools::arm() {
        Some(arm) => steps.run("kernels on ARM, emulated", || arm_tests(arm))?,
        None => steps.skip(
            "kernels on ARM, emulated",
            "for want of qemu-aarch64 and aarch64-linux-gnu-gcc (Debian: qemu-user, gcc-aarch64-linux-gnu)",
        ),
    }
    if options.skip_browser {
        steps.skip(
            "WebAssembly tests, page, browser tests",
            "as --skip-browser asks",
        );
        return Ok(());
    }
    steps.run("the benchmark's arithmetic", || {
        call(&mut command(
            "node",
            "--test bench/browser/figures.test.mjs",
        ))
    })?;
    steps.run("WebAssembly tests", webassembly_tests)?;
    steps.run("page", page::build)?;
    steps.run("browser tests", browser_tests)?;
    steps.run("npm package", npm_package)
}

/// The tests of kernels on an emulated processor.
fn arm_tests(arm: Arm) -> Result<()> {
    let target = "aarch64-unknown-linux-gnu";
    tools::rust_target(target)?;
    let arguments = format!("test -p kernels --lib --locked --target {target}");
    call(
        command("cargo", &arguments)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", arm.linker)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", arm.runner)
            .env_remove("RUSTFLAGS"),
    )
}

/// The tests of kernels and model compiled to WebAssembly with SIMD, run by Node through WASI; those of kernels also with
/// relaxed SIMD, in Chromium, for Node may not have it.
fn webassembly_tests() -> Result<()> {
    tools::rust_target("wasm32-wasip1")?;
    let node = "node --no-warnings xtask/wasi.mjs";
    webassembly_test("-p kernels -p shared", "+simd128", node)?;
    let chromium = "node xtask/chromium.mjs";
    webassembly_test("-p kernels", "+simd128,+relaxed-simd", chromium)
}

/// The units of some packages as WebAssembly with these features, run by `runner`, a program of this project.
fn webassembly_test(packages: &str, features: &str, runner: &str) -> Result<()> {
    let root = std::env::current_dir()?;
    // Tests run in their package's folder.
    let runner = runner.replace("xtask/", &format!("{}/xtask/", root.display()));
    let mut test = cargo();
    test.arg("test")
        .args(packages.split_whitespace())
        .args("--lib --locked --target wasm32-wasip1".split_whitespace())
        .env(
            "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS",
            format!("-C target-feature={features}"),
        )
        .env("CARGO_TARGET_WASM32_WASIP1_RUNNER", runner)
        .env("CHROMIUM", tools::chromium()?)
        .env_remove("RUSTFLAGS");
    call(&mut wasm(test))
}

/// Playwright against the page that was just built, with the classifier that comes with the project in it.
fn browser_tests() -> Result<()> {
    call(
        command(tools::npm(), "test")
            .current_dir(tools::E2E)
            .env("CHROMIUM", tools::chromium()?),
    )
}

/// The npm package as others install it, with a bundler and without.
fn npm_package() -> Result<()> {
    let packed = npm::build()?;
    let packed = packed.canonicalize().context("the npm package is gone")?;
    call(
        command("node", "--test tests/npm/package.test.mjs")
            .env("LACUNA_PACKAGE", packed)
            .env("CHROMIUM", tools::chromium()?),
    )
}

/// The command with the target folder for WebAssembly.
fn wasm(mut command: std::process::Command) -> std::process::Command {
    command.env("CARGO_TARGET_DIR", artefacts::TARGET_DIR);
    command
}
