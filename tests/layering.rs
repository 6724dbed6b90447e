//! The invariants of ARCHITECTURE.md that can be read from `cargo metadata` and the sources. A breach names its line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files under a folder of the project, with their names as seen from its root, in order.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(name);
            } else if name.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                found.insert(name.to_str().unwrap().replace('\\', "/"), text);
            }
        }
    }
    found
}

/// The numbered lines of a file that are code: no comments, nothing from its test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or("")))
}

/// Every line of code under `folder`, save in files whose names start with one of `except`, that contains a forbidden word.
fn breaches(folder: &str, except: &[&str], forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources(folder) {
        if except.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in code(&text) {
            if let Some(word) = forbidden.iter().find(|word| line.contains(**word)) {
                found.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    found
}

#[track_caller]
fn assert_none(breaches: &[String], rule: &str) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}

#[test]
fn trainer_and_web_meet_only_in_shared() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let arrows: BTreeMap<String, BTreeSet<String>> = packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter().map(name);
            (
                name(package),
                all.filter(|dependency| members.contains(dependency))
                    .collect(),
            )
        })
        .collect();
    for (package, allowed) in [
        ("kernels", &[][..]),
        ("shared", &["kernels"]),
        ("trainer", &["shared"]),
        ("web", &["shared"]),
        ("tests", &["shared", "trainer", "web"]),
        ("xtask", &[]),
    ] {
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let extra: Vec<_> = arrows[package].difference(&allowed).collect();
        assert!(extra.is_empty(), "{package} must not depend on {extra:?}");
    }
    assert_eq!(
        arrows.len(),
        6,
        "a new package needs its arrows stated here: {members:?}"
    );
}

#[test]
fn shared_is_pure() {
    let effects = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "std::time",
        "Instant",
        "SystemTime",
        "print!(",
        "println!(",
        "dbg!(",
        "tracing::",
    ];
    assert_none(
        &breaches("shared/src", &[], &effects),
        "shared reads no file or clock, starts no thread, prints nothing",
    );
    assert_none(
        &breaches(
            "shared/src",
            &["shared/src/nn/kernels", "shared/src/nn/cuda/device.rs"],
            &["rayon::", "unsafe "],
        ),
        "only shared/src/nn/kernels may use unsafe code or several threads, and only the start of a CUDA kernel the former",
    );
}

/// The only files with unsafe code: what they do, the compiler cannot see to be right.
const UNSAFE: [&str; 15] = [
    "kernels/src/attention.rs",
    "kernels/src/buffer.rs",
    "kernels/src/product/byte.rs",
    "kernels/src/product/float.rs",
    "kernels/src/product/sweep.rs",
    "kernels/src/tile/avx2.rs",
    "kernels/src/tile/avx512.rs",
    "kernels/src/tile/mod.rs",
    "kernels/src/tile/neon.rs",
    "kernels/src/tile/portable.rs",
    "kernels/src/tile/wasm.rs",
    "kernels/src/tile/wasm_relaxed.rs",
    "shared/src/nn/cuda/device.rs",
    "shared/src/nn/kernels/attention.rs",
    "shared/src/nn/kernels/product.rs",
];

/// Also for processors that this machine is not, whose files no lint reads here.
#[test]
fn unsafe_code_is_in_named_files_and_each_block_has_its_proof() {
    let (mut places, mut unproved) = (BTreeSet::new(), Vec::new());
    for folder in ["kernels", "shared", "trainer", "web", "scoring", "xtask"] {
        for (name, text) in sources(&format!("{folder}/src")) {
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in code(&text) {
                let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                if !words.any(|word| word == "unsafe") {
                    continue;
                }
                places.insert(name.clone());
                if line.contains("unsafe {") && !is_proved(&lines[..number]) {
                    unproved.push(format!("{name}:{number}"));
                }
            }
        }
    }
    let named: BTreeSet<String> = UNSAFE.map(String::from).into();
    assert_eq!(places, named, "the files with unsafe code are named here");
    assert_none(
        &unproved,
        "above an unsafe block `// SAFETY:` says why it is right",
    );
}

/// Whether the comment above the statement that ends here is a proof. The statement may have begun some lines above.
fn is_proved(lines: &[&str]) -> bool {
    let comment = |line: &&&str| line.trim_start().starts_with("//");
    let above = lines.iter().rev().skip(1);
    let statement = above
        .clone()
        .take(4)
        .take_while(|line| !comment(line))
        .count();
    let mut comments = above.skip(statement).take_while(comment);
    lines.last().is_some_and(|line| line.contains("SAFETY:"))
        || comments.any(|line| line.contains("SAFETY:"))
}

#[test]
fn the_page_thread_has_no_tensors() {
    let mut found = Vec::new();
    for folder in ["web/src/ui", "web/src/bin"] {
        let worker = ["web/src/bin/worker.rs"];
        let model = [
            "candle",
            "shared::model",
            "shared::predict",
            "shared::bundle",
            "shared::clip",
            "shared::nn",
        ];
        found.extend(breaches(folder, &worker, &model));
    }
    assert_none(
        &found,
        "the page's thread must stay small: the model belongs to the worker",
    );
}

#[test]
fn training_uses_no_operation_that_stops_gradients() {
    let silent = [
        "softmax_last_dim",
        "ops::layer_norm(",
        "ops::rms_norm(",
        "candle_nn::layer_norm",
        "candle_nn::LayerNorm",
        "candle_nn::RmsNorm",
        "no_bwd",
    ];
    for folder in ["shared/src", "trainer/src"] {
        assert_none(
            &breaches(folder, &[], &silent),
            "candle's fused operations have no backward pass and say nothing: use shared::nn",
        );
    }
}

#[test]
fn each_thing_is_defined_once() {
    let all: BTreeMap<String, String> = ["shared/src", "trainer/src", "web/src"]
        .iter()
        .flat_map(|folder| sources(folder))
        .collect();
    for (what, mark, home) in [
        ("CLIP's pixel mean", "0.48145466", "shared/src/preprocess/"),
        (
            "the start token",
            "<|startoftext|>",
            "shared/src/preprocess/",
        ),
        ("the missing cases", "enum Case ", "shared/src/case.rs"),
        ("the manifest", "struct Manifest ", "shared/src/bundle/"),
        (
            "the prediction",
            "struct Prediction ",
            "shared/src/predict.rs",
        ),
    ] {
        let places: Vec<&str> = all
            .iter()
            .filter(|(_, text)| code(text).any(|(_, line)| line.replace('_', "").contains(mark)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            places.len(),
            1,
            "{what} must be defined in one file: {places:?}"
        );
        assert!(
            places[0].starts_with(home),
            "{what} belongs into {home}: {places:?}"
        );
    }
}
