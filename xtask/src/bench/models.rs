//! Owns the models that benchmarks share: bundles of ours and graphs of the same weights for ONNX Runtime.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::step::{call, command, output};

/// Where they are left unless somewhere else is asked for.
pub(super) const FOLDER: &str = "target/bench";
/// Tokens of the text that is measured, frame included: a caption as people write them.
const WORDS: &str = "8";
/// Written when all graphs are there.
const GRAPHS_MADE: &str = "made.json";

/// Makes bundles with and without prompts in f32 and in bytes, and the graphs of the same weights, from a CLIP folder;
/// what is there is used again.
///
/// # Errors
/// If `clip` is no CLIP folder, Python lacks a package, or there is no room.
pub(super) fn make(folder: &Path, clip: &Path, python: &str) -> Result<()> {
    require(python, "numpy, onnx, onnxruntime, safetensors")?;
    if !clip.join("config.json").is_file() {
        bail!(
            "{} is no CLIP folder: it has no config.json",
            clip.display()
        );
    }
    call(&mut command(
        "cargo",
        "build -p trainer --example bench_bundle --locked",
    ))?;
    for prompt in ["none", "dcp"] {
        for dtype in ["f32", "int8"] {
            let out = folder.join(format!("{prompt}-{dtype}"));
            if !out.join("manifest.json").is_file() {
                let mut make = command("target/debug/examples/bench_bundle", "");
                call(make.arg(clip).arg(&out).args([prompt, dtype]))?;
            }
        }
        let graphs = folder.join(format!("{prompt}-onnx"));
        if !graphs.join(GRAPHS_MADE).is_file() {
            let mut make = command(python, "bench/make_onnx.py");
            make.arg(folder.join(format!("{prompt}-f32"))).arg(&graphs);
            call(make.args(["--words", WORDS]))?;
        }
    }
    Ok(())
}

/// Asks a Python for packages, and returns their versions.
///
/// # Errors
/// A sentence with what to install.
pub(super) fn require(python: &str, packages: &str) -> Result<String> {
    let code = format!("import {packages}; print(*[p.__version__ for p in ({packages},)])");
    output(command(python, "").args(["-c", &code])).with_context(|| {
        let names = packages.replace(',', "");
        format!(
            "{python} cannot import {packages}; `python3 -m venv data/python && data/python/bin/pip install {names}` gets \
             them, then add --python data/python/bin/python"
        )
    })
}
